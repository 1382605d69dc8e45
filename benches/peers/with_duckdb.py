"""The jobs in DuckDB: python with_duckdb.py JOB THREADS OUTPUT INPUT...

From the comparison with other engines: duckdb_j1.py, duckdb_j1p.py, duckdb_j2.py and duckdb_j3e.py, here in one file.
A batch: no watermark, and nothing comes out before all is read. Three of the five fields are parsed.
"""

import sys

import duckdb

job, threads, output, *inputs = sys.argv[1:]
if inputs[0].endswith(".parquet"):
    events = f"(SELECT epoch_ms(ts) AS ts, sensor, value FROM read_parquet({inputs!r}))"
else:
    columns = "{ts: 'BIGINT', sensor: 'VARCHAR', value: 'DOUBLE'}"
    events = f"read_json({inputs!r}, format='newline_delimited', columns={columns})"

summary = """count(*) AS "count", sum(value) AS "sum", min(value) AS "min", max(value) AS "max", avg(value) AS "mean",
    stddev_pop(value) AS "stddev" """
percentiles = """quantile_cont(value, 0.5) AS p50, quantile_cont(value, 0.95) AS p95, quantile_cont(value, 0.99) AS p99"""

JOBS = {
    "j1": f"SELECT ts - ts % 10000 AS window_start, sensor, {summary} FROM {events} GROUP BY ALL",
    "j1p": f"SELECT ts - ts % 10000 AS window_start, sensor, {summary}, {percentiles} FROM {events} GROUP BY ALL",
    # Panes of 5 s, each of which goes into 12 windows.
    "j2": f"""
        WITH panes AS (
            SELECT ts - ts % 5000 AS pane, sensor, count(*) AS n, sum(value) AS s, sum(value * value) AS q,
                min(value) AS low, max(value) AS high
            FROM {events} GROUP BY ALL),
        windows AS (SELECT pane - k * 5000 AS window_start, panes.* FROM panes, range(12) r(k))
        SELECT window_start, sensor, sum(n)::BIGINT AS "count", sum(s) AS "sum", min(low) AS "min", max(high) AS "max",
            sum(s) / sum(n) AS "mean", sqrt(greatest(sum(q) / sum(n) - (sum(s) / sum(n)) ** 2, 0)) AS "stddev"
        FROM windows GROUP BY window_start, sensor""",
    # In event time; those of one millisecond as they came.
    "j3": f"""
        WITH numbered AS (SELECT row_number() OVER () AS number, * FROM {events}),
        scored AS (
            SELECT ts, sensor, value, count(*) OVER w AS n, avg(value) OVER w AS mean, stddev_pop(value) OVER w AS deviation
            FROM numbered
            WINDOW w AS (PARTITION BY sensor ORDER BY ts, number ROWS BETWEEN 99 PRECEDING AND 1 PRECEDING))
        SELECT ts, sensor, value, mean, deviation, (value - mean) / deviation AS z FROM scored
        WHERE n = 99 AND deviation > 0 AND abs(value - mean) > sqrt(15.84 / 0.8217) * deviation""",
}

connection = duckdb.connect(config={"threads": int(threads), "preserve_insertion_order": job == "j3"})
connection.execute(f"COPY ({JOBS[job]}) TO '{output}' (FORMAT json)")
