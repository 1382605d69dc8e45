-- The three most frequent codes of a site in 30 s, one row for each rank; of equally frequent ones the least comes first.
SELECT start_of(us, 30000000) AS window_start, site, row_number() OVER w AS rank, code AS value, count(*) AS count
FROM events WHERE code IS NOT NULL GROUP BY window_start, site, code
WINDOW w AS (PARTITION BY start_of(us, 30000000), site ORDER BY count(*) DESC, code)
QUALIFY row_number() OVER w <= 3 ORDER BY window_start, site, rank;
