"""The jobs in Polars: python with_polars.py JOB THREADS OUTPUT INPUT...

From the comparison with other engines: polars_j1.py, polars_j1p.py, polars_j2.py and polars_j3.py, here in one file;
J3 in event time. A batch: no watermark, and nothing comes out before all is read.
"""

import os
import sys

job, threads, output, *inputs = sys.argv[1:]
os.environ["POLARS_MAX_THREADS"] = threads

import polars as pl

value, time = pl.col("value"), pl.col("ts")
if inputs[0].endswith(".parquet"):
    events = pl.scan_parquet(inputs).with_columns(time.dt.epoch("ms"))
else:
    types = {"ts": pl.Int64, "sensor": pl.String, "value": pl.Float64, "host": pl.String, "status": pl.Int64}
    events = pl.scan_ndjson(inputs, schema=types)

summary = [
    value.len().alias("count"),
    value.sum().alias("sum"),
    value.min().alias("min"),
    value.max().alias("max"),
    value.mean().alias("mean"),
    value.std(ddof=0).alias("stddev"),
]
percentiles = [value.quantile(q, "linear").alias(f"p{int(q * 100)}") for q in (0.5, 0.95, 0.99)]


def tumbling(aggregates):
    return events.group_by((time - time % 10_000).alias("window_start"), "sensor").agg(aggregates)


def hopping():
    """Panes of 5 s, each of which goes into 12 windows."""
    parts = [value.len().alias("n"), value.sum().alias("s"), (value * value).sum().alias("q")]
    parts += [value.min().alias("low"), value.max().alias("high")]
    panes = events.group_by((time - time % 5_000).alias("pane"), "sensor").agg(parts)
    shifts = pl.LazyFrame({"shift": [i * 5_000 for i in range(12)]}, schema={"shift": pl.Int64})
    n, s, q = (pl.col(name).sum() for name in "nsq")
    result = [n.alias("count"), s.alias("sum"), pl.col("low").min().alias("min"), pl.col("high").max().alias("max")]
    result += [(s / n).alias("mean"), (q / n - (s / n) ** 2).clip(0).sqrt().alias("stddev")]
    windows = panes.join(shifts, how="cross")
    return windows.group_by((pl.col("pane") - pl.col("shift")).alias("window_start"), "sensor").agg(result)


def scores():
    """In event time; those of one millisecond as they came."""
    before = lambda number: number.shift(1).over("sensor")
    sums = [value.rolling_mean(99).alias("mean"), value.rolling_std(99, ddof=0).alias("deviation")]
    scored = events.select("ts", "sensor", "value").sort("ts", maintain_order=True).with_columns(map(before, sums))
    z = (value - pl.col("mean")) / pl.col("deviation")
    return scored.filter(pl.col("deviation") > 0).with_columns(z.alias("z")).filter(z.abs() > (15.84 / 0.8217) ** 0.5)


JOBS = {"j1": lambda: tumbling(summary), "j1p": lambda: tumbling(summary + percentiles), "j2": hopping, "j3": scores}
JOBS[job]().sink_ndjson(output, engine="in-memory" if job == "j3" else "streaming")
