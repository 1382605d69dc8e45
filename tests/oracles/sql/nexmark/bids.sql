-- The bids of 20,000 events, as dataflows/nexmark_q0.toml wrote them; `few` are those of the first 500 events.
CREATE TABLE bids AS
SELECT epoch_us(event_time::TIMESTAMPTZ) AS us, auction, bidder, price, channel, url, extra
FROM read_json('$BIDS', format = 'newline_delimited',
               columns = {event_time: 'VARCHAR', auction: 'BIGINT', bidder: 'BIGINT', price: 'BIGINT', channel: 'VARCHAR',
                          url: 'VARCHAR', extra: 'VARCHAR'});

CREATE TABLE few AS FROM bids WHERE us < epoch_us(TIMESTAMPTZ '2026-01-01T23:58:25Z');

-- The start of the window of this size that holds a time.
CREATE MACRO start_of(us, size) AS us - us % size;
