-- Windows of 25 records of a sensor each; those that are not full at the end are no windows.
SELECT min(us) AS window_start, sensor, max(us) + 1 AS window_end, count(*) AS n, sum(value) AS sum, var_pop(value) AS variance, max(value) AS max
FROM events GROUP BY sensor, (nth - 1) // 25 HAVING count(*) = 25 ORDER BY ALL;
