-- Bids of a bidder in each session: 10 s without a bid end one.
WITH marked AS (
    SELECT *, us - lag(us, 1, us) OVER w >= 10000000 AS begins FROM bids WINDOW w AS (PARTITION BY bidder ORDER BY us)
), numbered AS (
    SELECT *, count(*) FILTER (WHERE begins) OVER (PARTITION BY bidder ORDER BY us ROWS UNBOUNDED PRECEDING) AS session FROM marked
)
SELECT min(us) AS window_start, max(us) + 10000000 AS window_end, bidder, count(*) AS bids
FROM numbered GROUP BY bidder, session ORDER BY ALL;
