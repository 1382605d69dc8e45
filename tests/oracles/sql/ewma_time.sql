-- Every value beside all before it, which count half after 20 s.
WITH weighed AS (
    SELECT v.id, v.value AS x, b.value, pow(0.5, (v.us - b.us) / 20000000::DOUBLE) AS weight
    FROM frequent v LEFT JOIN frequent b ON b.sensor = v.sensor AND b.nth < v.nth
), centred AS (
    SELECT *, sum(weight * value) OVER (PARTITION BY id) / sum(weight) OVER (PARTITION BY id) AS mean FROM weighed
), measured AS (
    SELECT id, x, count(value) AS baseline_count, mean, sqrt(sum(weight * (value - mean) ** 2) / sum(weight)) AS deviation
    FROM centred GROUP BY id, x, mean
)
SELECT id, baseline_count, mean, deviation, CASE WHEN baseline_count >= 30 THEN (x - mean) / deviation END AS z FROM measured ORDER BY id;
