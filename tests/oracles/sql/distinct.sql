-- How many different ids and codes a site has in 30 s: exact here, estimated by the engine.
SELECT start_of(us, 30000000) AS window_start, site, count(DISTINCT id) AS ids, count(DISTINCT code) AS codes
FROM events GROUP BY ALL ORDER BY ALL;
