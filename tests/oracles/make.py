"""Makes the data and the expected files of tests/it/oracles.rs and tests/it/nexmark.rs.

The answers are DuckDB's: its aggregates, its window frames, its joins over sql/*.sql, and none of our own code. The data
come from a small generator of our own (splitmix64, seed below), so the files are the same on every machine.

    python3 -m venv /tmp/duck && /tmp/duck/bin/pip install duckdb==2.0.0
    cargo build --release                               # writes the events of Nexmark; or PROGRAM=path/to/eagre
    /tmp/duck/bin/python tests/oracles/make.py          # data/*.jsonl, then expected/*.psv; git diff must stay empty

Expected files have cells between `|`; the first line names the columns. Times are microseconds UTC. An empty cell is null.
"""

import json
import os
import pathlib
import subprocess
import tempfile

import duckdb

from chance import Random

HERE = pathlib.Path(__file__).resolve().parent
VERSION = "2.0.0"
SEED = 20261121
EVENTS = 6500
SENSORS = 40
PARTITIONS = 3
START = 1_767_225_600_000  # 2026-01-01T00:00:00Z in ms
STEP = 45  # ms between arrivals
DELAY_MAX = 2000  # ms: records are out of order by at most this, within their partition too
GRAIN = 25  # ms: event times are multiples, so that many of a key are equal and the order of ties is tested
OUTLIER_AT = 2000  # one value of 1e12: what subtracts in place of combining is wrong for ever after


def event(random, i):
    """The i-th record to arrive. Values are eighths, so that no variance hangs on the last bits of a difference."""
    sensor = random.zipf(SENSORS)
    ts = START + i * STEP - round(DELAY_MAX * random.unit() ** 3)
    noise = sum(random.unit() for _ in range(4)) - 2
    value = round((20 + 3 * sensor + 8 * noise + (i % 900) / 100) * 8) / 8
    if random.unit() < 0.004:
        value += 60 + random.below(200)
    if i >= OUTLIER_AT > i - 1:
        sensor, value = 0, 1e12
    record = {"ts": ts - ts % GRAIN, "sensor": f"s{sensor:02}", "site": "abcd"[random.below(4)], "value": value}
    chance = random.unit()
    if chance < 0.02:
        del record["value"]
    elif chance < 0.05:
        record["value"] = None
    record["bytes"] = random.below(1000) ** 2 if random.unit() > 0.04 else None
    record["code"] = f"c{random.zipf(30):02}" if random.unit() > 0.03 else None
    return record


def make_data():
    random = Random(SEED)
    files = [[] for _ in range(PARTITIONS)]
    newest = [0] * PARTITIONS
    for i in range(EVENTS):
        record = event(random, i)
        partition = random.below(PARTITIONS)
        assert record["ts"] >= newest[partition] - DELAY_MAX, "a record would be late"
        newest[partition] = max(newest[partition], record["ts"])
        record["id"] = partition * 100_000 + len(files[partition])
        files[partition].append(json.dumps(record))
    for partition, lines in enumerate(files):
        (HERE / "data" / f"p{partition}.jsonl").write_text("\n".join(lines) + "\n")


def make_expected():
    connection = connect()
    connection.execute((HERE / "sql" / "events.sql").read_text().replace("$DATA", str(HERE / "data")))
    answer(connection, "", {"events"})


def make_nexmark():
    """The queries of Nexmark, over the events that q0 passes through."""
    program = os.environ.get("PROGRAM", HERE.parents[1] / "target" / "release" / "eagre")
    connection = connect()
    with tempfile.TemporaryDirectory() as folder:
        bids = f"{folder}/bids.jsonl"
        sets = ["source.bids.events=20000", "source.bids.rate=100", "source.bids.start=2026-01-01T23:58:20Z"]
        sets += [f"sink.out.path={bids}", f"data_dir={folder}"]
        job = HERE.parents[1] / "dataflows" / "nexmark_q0.toml"
        subprocess.run([program, "run", job, *(word for set in sets for word in ("--set", set))], check=True)
        connection.execute((HERE / "sql" / "nexmark" / "bids.sql").read_text().replace("$BIDS", bids))
    answer(connection, "nexmark", {"bids"})


def connect():
    assert duckdb.__version__ == VERSION, f"the committed files are of DuckDB {VERSION}, this is {duckdb.__version__}"
    return duckdb.connect(config={"threads": 1})


def answer(connection, folder, tables):
    """Writes the answer to every query of a folder; some of its files make tables."""
    for file in sorted((HERE / "sql" / folder).glob("*.sql")):
        if file.stem in tables:
            continue
        query = file.read_text().rstrip().rstrip(";")
        expected = HERE / "expected" / folder / f"{file.stem}.psv"
        connection.execute(f"COPY ({query}) TO '{expected}' (FORMAT csv, HEADER, DELIMITER '|', QUOTE '', ESCAPE '')")
        print(f"{expected.name}: {sum(1 for _ in expected.open()) - 1} rows")


if __name__ == "__main__":
    make_data()
    make_expected()
    make_nexmark()
