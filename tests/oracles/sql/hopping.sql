-- Windows of 60 s that begin every 5 s: a record is in twelve. The first ones begin before the first record.
SELECT start_of(us, 5000000) - hop * 5000000 AS window_start, sensor, count(*) AS n, sum(value) AS sum, min(value) AS min,
       max(value) AS max, stddev_pop(value) AS stddev, max(bytes) AS bytes
FROM events, range(12) AS hops(hop) GROUP BY ALL ORDER BY ALL;
