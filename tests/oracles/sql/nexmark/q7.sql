-- The bids with the highest price of 10 s; the newest auction and bidder, where there are several.
WITH highest AS (
    SELECT start_of(us, 10000000) + 10000000 AS window_end, max(price) AS price FROM bids GROUP BY window_end
)
SELECT window_end, price, max(auction) AS auction, max(bidder) AS bidder
FROM bids JOIN highest USING (price) WHERE us BETWEEN window_end - 10000000 AND window_end - 1
GROUP BY window_end, price ORDER BY ALL;
