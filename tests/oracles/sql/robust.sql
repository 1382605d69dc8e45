-- Every value beside the median of the 100 before it, and their MAD as a standard deviation.
SELECT id, baseline_count, median, deviation,
       CASE WHEN baseline_count < 30 THEN NULL WHEN value = median THEN 0.0 WHEN deviation > 0 THEN (value - median) / deviation END AS z
FROM (SELECT id, value, count(*) OVER w AS baseline_count, median(value) OVER w AS median, 1.482602218505602::DOUBLE * mad(value) OVER w AS deviation
      FROM frequent WINDOW w AS (PARTITION BY sensor ORDER BY us, id ROWS BETWEEN 100 PRECEDING AND 1 PRECEDING))
ORDER BY id;
