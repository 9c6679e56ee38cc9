"""A quarter's counts over a table of events, beside DuckDB on the same files.

Each query is a command of its own, the start of the program or of Python included. The table is made once, a report a day,
and kept where WAGLAN_BENCH_FOLDER says.
"""

import datetime
import os
import sys
import tempfile
from pathlib import Path

import deltalake
import duckdb

from measure import machine, measured, median, parquet_size, sinkhole_report, with_tables

release, events = Path(sys.argv[1]), int(sys.argv[2])
# A tenth of a report's rows repeats what others of it say.
rows = round(events / 0.899)
RUNS = 3
DAYS = [datetime.date(2024, 1, 1) + datetime.timedelta(day) for day in range(91)]

QUERIES = {
    "events by type": "SELECT classification_type, count(*) AS events FROM events GROUP BY 1 ORDER BY 1",
    "events by malware": "SELECT malware_name, count(*) AS events FROM events GROUP BY 1 ORDER BY 1",
    "unique addresses by day": "SELECT cast(time_source AS date) AS day, count(DISTINCT source_ip) AS addresses FROM events GROUP BY 1 ORDER BY 1",
    "largest daily unique addresses by family": """SELECT malware_name, max(addresses) AS most FROM (
        SELECT malware_name, cast(time_source AS date) AS day, count(DISTINCT source_ip) AS addresses FROM events GROUP BY 1, 2
    ) GROUP BY 1 ORDER BY 1""",
}

DUCKDB = """
import csv, duckdb, sys
connection = duckdb.connect(config={"threads": 2})
connection.execute("SET enable_progress_bar = false")
connection.execute("SET TimeZone = 'UTC'")
connection.execute(f"CREATE VIEW events AS SELECT * FROM read_parquet({sys.argv[1].split()}, union_by_name = true)")
answer = connection.execute(sys.argv[2])
out = csv.writer(sys.stdout, lineterminator="\\n")
out.writerow(column[0] for column in answer.description)
out.writerows(answer.fetchall())
"""


def make(data):
    """A quarter of daily reports, read."""
    reports = []
    for day in DAYS:
        report = data.parent / f"{day}-event4_sinkhole_http-bench.csv.zst"
        sinkhole_report(release, report, rows // len(DAYS), day)
        reports.append(report)
    part = data.with_suffix(".part")
    with_tables(release, part)
    ingest = [release / "waglan", "ingest", "--data", part, "--feed", "shadowserver/event_sinkhole_http", *reports]
    made = measured(ingest)
    print(f"made in {made['seconds']:.0f} s, at most {made['memory']:.0f} MiB")
    part.rename(data)
    for report in reports:
        report.unlink()


with tempfile.TemporaryDirectory() as folder:
    data = Path(os.environ.get("WAGLAN_BENCH_FOLDER", folder)) / f"queried-{events}-events"
    print(f"{machine()}; DuckDB {duckdb.__version__}")
    if not data.exists():
        make(data)
    files = deltalake.DeltaTable(data / "events").file_uris()
    print(f"{len(files)} files, {parquet_size(data / 'events') / 2**20:.0f} MiB")
    sums = {"waglan": 0.0, "DuckDB": 0.0}
    for name, sql in QUERIES.items():
        ours, theirs = [], []
        for _ in range(RUNS):
            ours.append(measured([release / "waglan", "query", "--data", data, "--format", "csv", sql]))
            theirs.append(measured([sys.executable, "-c", DUCKDB, " ".join(files), sql]))
        if ours[-1]["out"] != theirs[-1]["out"]:
            sys.exit(f"{name}: the answers differ:\n{ours[-1]['out']}\n{theirs[-1]['out']}")
        sums["waglan"] += median(ours, "seconds")
        sums["DuckDB"] += median(theirs, "seconds")
        told = [f"{who} {median(runs, 'seconds'):.2f} s, {max(run['memory'] for run in runs):.0f} MiB" for who, runs in (("waglan", ours), ("DuckDB", theirs))]
        print(f"{name}: {'; '.join(told)}")
    print(f"in sum: waglan {sums['waglan']:.2f} s, DuckDB {sums['DuckDB']:.2f} s: {sums['DuckDB'] / sums['waglan']:.2f} times DuckDB's speed")
