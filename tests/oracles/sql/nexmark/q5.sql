-- The auctions with the most bids of 10 s, every 2 s; of several the newest.
WITH counts AS (
    SELECT auction, count(*) AS bids, start_of(us, 2000000) - hop * 2000000 + 10000000 AS window_end
    FROM bids, range(5) AS hops(hop) GROUP BY ALL
), most AS (
    SELECT window_end, max(bids) AS most FROM counts GROUP BY window_end
)
SELECT window_end, max(auction) AS auction, bids
FROM counts JOIN most USING (window_end) WHERE bids >= most GROUP BY window_end, bids ORDER BY ALL;
