-- Every value beside the 100 before it of its sensor: the value itself is not among them. Judged from 30 on.
SELECT id, baseline_count, mean, deviation,
       CASE WHEN baseline_count >= 30 THEN (value - mean) / deviation END AS z
FROM (SELECT id, value, count(*) OVER w AS baseline_count, avg(value) OVER w AS mean, stddev_pop(value) OVER w AS deviation
      FROM valued WINDOW w AS (PARTITION BY sensor ORDER BY us, id ROWS BETWEEN 100 PRECEDING AND 1 PRECEDING))
ORDER BY id;
