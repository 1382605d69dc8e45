-- Windows of 30 s for every pair of site and sensor.
SELECT start_of(us, 30000000) AS window_start, site, sensor, count(*) AS n, sum(value) AS sum, avg(bytes) AS mean, var_pop(bytes) AS variance
FROM events GROUP BY ALL ORDER BY ALL;
