-- Windows of 10 s for each sensor: every aggregate that DuckDB has under some name.
SELECT start_of(us, 10000000) AS window_start, start_of(us, 10000000) + 10000000 AS window_end, sensor,
       count(*) AS n, count(value) AS values, sum(value) AS sum, min(value) AS min, max(value) AS max, avg(value) AS mean,
       var_pop(value) AS variance, var_samp(value) AS sample_variance,
       stddev_pop(value) AS stddev, stddev_samp(value) AS sample_stddev,
       first(value ORDER BY us, id) FILTER (WHERE value IS NOT NULL) AS first,
       last(value ORDER BY us, id) FILTER (WHERE value IS NOT NULL) AS last,
       quantile_cont(value, 0.5) AS p50, quantile_cont(value, 0.95) AS p95, quantile_cont(value, 0.99) AS p99,
       count(*) / 10::DOUBLE AS rate
FROM events GROUP BY ALL ORDER BY ALL;
