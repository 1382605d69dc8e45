-- The bids for one auction in 123.
SELECT us AS event_time, auction, price FROM bids WHERE auction % 123 = 0 ORDER BY ALL;
