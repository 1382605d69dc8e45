-- The price in euros, as a float.
SELECT us AS event_time, auction, bidder, CAST(0.908 AS DOUBLE) * price AS price, extra FROM few ORDER BY ALL;
