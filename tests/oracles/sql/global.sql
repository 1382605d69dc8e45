-- One window of everything, for each site: from its first record to 1 us after its last.
SELECT min(us) AS window_start, max(us) + 1 AS window_end, site, count(*) AS n, sum(value) AS sum, min(value) AS min, max(value) AS max, avg(value) AS mean, stddev_pop(value) AS stddev,
       sum(bytes) AS bytes, quantile_cont(value, 0.99) AS p99
FROM events GROUP BY ALL ORDER BY ALL;
