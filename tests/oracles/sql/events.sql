-- The records, in the engine's order: event time, then partition (files by name), then position in the file.
-- `id` rises with the position in a file and with the file's name: (ts, id) is the canonical order.
CREATE TABLE events AS
SELECT ts * 1000 AS us, sensor, site, value, bytes, code, id,
       row_number() OVER (PARTITION BY sensor ORDER BY ts, id) AS nth
FROM read_json('$DATA/p*.jsonl', format = 'newline_delimited',
               columns = {ts: 'BIGINT', sensor: 'VARCHAR', site: 'VARCHAR', value: 'DOUBLE', bytes: 'BIGINT', code: 'VARCHAR', id: 'BIGINT'});

-- What a score of `value` sees: records without a value are rejected, the others are numbered key by key.
CREATE TABLE valued AS
SELECT us, sensor, value, id, row_number() OVER (PARTITION BY sensor ORDER BY us, id) AS nth
FROM events WHERE value IS NOT NULL;

-- The same of the few most frequent sensors, for what is made by joining each record with all before it.
CREATE TABLE frequent AS FROM valued WHERE sensor < 's06';

-- The start of the window of this size that holds a time; floor division, for times before 1970 too.
CREATE MACRO start_of(us, size) AS us - ((us % size) + size) % size;
