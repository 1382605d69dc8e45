-- Every value beside all before it, which weigh 0.95 ^ age: the age is how many came since.
WITH weighed AS (
    SELECT v.id, v.value AS x, b.value, pow(0.95, v.nth - 1 - b.nth) AS weight
    FROM frequent v LEFT JOIN frequent b ON b.sensor = v.sensor AND b.nth < v.nth
), centred AS (
    SELECT *, sum(weight * value) OVER (PARTITION BY id) / sum(weight) OVER (PARTITION BY id) AS mean FROM weighed
), measured AS (
    SELECT id, x, count(value) AS baseline_count, mean, sqrt(sum(weight * (value - mean) ** 2) / sum(weight)) AS deviation
    FROM centred GROUP BY id, x, mean
)
SELECT id, baseline_count, mean, deviation, CASE WHEN baseline_count >= 30 THEN (x - mean) / deviation END AS z FROM measured ORDER BY id;
