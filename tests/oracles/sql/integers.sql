-- Windows of 10 s for each sensor over whole numbers, and over an expression of two fields.
SELECT start_of(us, 10000000) AS window_start, sensor, count(bytes) AS n, sum(bytes) AS sum, min(bytes) AS min, max(bytes) AS max,
       avg(bytes) AS mean, var_pop(bytes) AS variance, stddev_samp(bytes) AS sample_stddev,
       first(bytes ORDER BY us, id) FILTER (WHERE bytes IS NOT NULL) AS first,
       sum(bytes / value) AS ratio
FROM events GROUP BY ALL ORDER BY ALL;
