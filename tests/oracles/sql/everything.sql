-- One window of everything, without a key.
SELECT count(*) AS n, count(value) AS values, sum(value) AS sum, var_samp(value) AS sample_variance, quantile_cont(value, 0.999) AS p999
FROM events;
