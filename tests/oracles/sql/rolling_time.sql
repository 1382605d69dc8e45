-- Every value beside those of the 60 s before it: exactly 60 s old counts, and so does the same time earlier in order.
SELECT v.id, count(b.value) AS baseline_count, avg(b.value) AS mean, stddev_pop(b.value) AS deviation,
       CASE WHEN count(b.value) >= 30 THEN (v.value - avg(b.value)) / stddev_pop(b.value) END AS z,
       min(b.us) AS baseline_from, max(b.us) AS baseline_until
FROM frequent v LEFT JOIN frequent b ON b.sensor = v.sensor AND b.us >= v.us - 60000000 AND b.nth < v.nth
GROUP BY v.id, v.value ORDER BY v.id;
