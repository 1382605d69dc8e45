-- Every bid.
SELECT us AS event_time, auction, bidder, price, channel, url, extra FROM few ORDER BY ALL;
