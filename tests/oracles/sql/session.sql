-- Sessions of a sensor: a record 4 s or more after the one before it begins another. They end 4 s after their last record.
WITH marked AS (
    SELECT *, us - lag(us, 1, us) OVER w >= 4000000 AS begins FROM events WINDOW w AS (PARTITION BY sensor ORDER BY us, id)
), numbered AS (
    SELECT *, count(*) FILTER (WHERE begins) OVER (PARTITION BY sensor ORDER BY us, id ROWS UNBOUNDED PRECEDING) AS session FROM marked
)
SELECT min(us) AS window_start, sensor, max(us) + 4000000 AS window_end, count(*) AS n, sum(value) AS sum, avg(value) AS mean,
       stddev_pop(value) AS stddev, first(value ORDER BY us, id) FILTER (WHERE value IS NOT NULL) AS first,
       quantile_cont(value, 0.5) AS median
FROM numbered GROUP BY sensor, session ORDER BY ALL;
