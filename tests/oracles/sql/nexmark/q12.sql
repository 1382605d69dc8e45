-- Bids of a bidder in every 10 s of event time.
SELECT start_of(us, 10000000) AS window_start, bidder, count(*) AS bids FROM bids GROUP BY ALL ORDER BY ALL;
