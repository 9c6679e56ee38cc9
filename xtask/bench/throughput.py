"""A sinkhole report from file to committed events, beside DuckDB turning the same file into zstd Parquet.

Prints medians of several runs, which alternate, so that a noisy machine is noisy to both.
"""

import os
import statistics
import sys
import tempfile
from pathlib import Path

import duckdb

from measure import machine, measured, median, parquet_size, sinkhole_report, with_tables

release, rows = Path(sys.argv[1]), int(sys.argv[2])
RUNS = 5 if rows <= 2_000_000 else 3

DUCKDB = """
import duckdb, sys
connection = duckdb.connect(config={"threads": 2})
connection.execute("SET enable_progress_bar = false")
connection.execute(f"COPY (SELECT * FROM read_csv('{sys.argv[1]}', header=true)) TO '{sys.argv[2]}' (FORMAT parquet, COMPRESSION zstd)")
"""

with tempfile.TemporaryDirectory(dir=os.environ.get("WAGLAN_BENCH_FOLDER")) as folder:
    folder = Path(folder)
    report, data, peer = folder / "2024-01-15-event4_sinkhole_http-bench.csv", folder / "data", folder / "peer.parquet"
    sinkhole_report(release, report, rows)
    print(f"{machine()}; DuckDB {duckdb.__version__}")
    print(f"{rows} rows, {report.stat().st_size / rows:.0f} bytes each")
    ours, theirs = [], []
    for _ in range(RUNS):
        with_tables(release, data)
        os.sync()
        ours.append(measured([release / "waglan", "ingest", "--data", data, "--feed", "shadowserver/event_sinkhole_http", report], "new events"))
        os.sync()
        theirs.append(measured([sys.executable, "-c", DUCKDB, report, peer]))
    print(ours[-1]["said"])
    for name, runs, of in (
        ("waglan, to committed events", ours, "reached"),
        ("waglan, sightings counted too", ours, "seconds"),
        ("DuckDB", theirs, "seconds"),
    ):
        seconds = median(runs, of)
        ratio = statistics.median(their["seconds"] / run[of] for run, their in zip(runs, theirs))
        each = " ".join(f"{run[of]:.2f}" for run in runs)
        print(f"{name}: {rows / seconds:,.0f} rows a second, {seconds:.2f} s (of {each}), {ratio:.2f} times DuckDB's speed")
    for name, runs in (("waglan", ours), ("DuckDB", theirs)):
        print(f"{name}: {median(runs, 'cores') / rows * 1e6:.2f} core-seconds per million rows, at most {max(run['memory'] for run in runs):.0f} MiB")
    print(f"at rest: waglan {parquet_size(data / 'events') / rows:.1f}, DuckDB {peer.stat().st_size / rows:.1f} bytes a row")
