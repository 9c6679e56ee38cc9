"""A sinkhole report from file to committed events, beside DuckDB turning the same file into zstd Parquet.

Prints one table row for each, medians of several runs, interleaved so that a noisy machine is noisy to both.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

RUNS = 3
release, rows = Path(sys.argv[1]), int(sys.argv[2])


def measured(command):
    """Wall seconds, core seconds and peak resident MiB of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, said = process.communicate()
    seconds = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode not in (0, 1):
        sys.exit(said.decode())
    cores = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cores, said.decode()


def peak(command):
    out = subprocess.run(["/usr/bin/time", "-f", "%M", *command], capture_output=True, text=True, check=False)
    return int(out.stderr.split()[-1]) / 1024


def parquet_size(folder):
    return sum(file.stat().st_size for file in Path(folder).rglob("*.parquet"))


DUCKDB = """
import duckdb, sys
connection = duckdb.connect(config={"threads": 2})
connection.execute(f"COPY (SELECT * FROM read_csv('{sys.argv[1]}', header=true)) TO '{sys.argv[2]}' (FORMAT parquet, COMPRESSION zstd)")
"""

with tempfile.TemporaryDirectory(dir=os.environ.get("WAGLAN_BENCH_FOLDER")) as folder:
    folder = Path(folder)
    report = folder / "2026-03-02-event4_sinkhole_http-bench.csv"
    subprocess.run([release / "examples/sinkhole_report", str(rows), report], check=True, stdout=subprocess.DEVNULL)
    print(f"{rows} rows, {report.stat().st_size / rows:.0f} bytes each; DuckDB {duckdb.__version__}, {os.cpu_count()} processors")
    ours, theirs = [], []
    for _ in range(RUNS):
        data = folder / "data"
        shutil.rmtree(data, ignore_errors=True)
        subprocess.run([release / "waglan", "demo", "--tables-only", "--data", data], check=True, stderr=subprocess.DEVNULL)
        ingest = [release / "waglan", "ingest", "--data", data, "--feed", "shadowserver/event_sinkhole_http", report]
        ours.append(measured(ingest))
        theirs.append(measured([sys.executable, "-c", DUCKDB, report, folder / "peer.parquet"]))
    print(ours[-1][2].strip())
    for name, runs in (("waglan", ours), ("DuckDB", theirs)):
        seconds, cores = statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs)
        print(f"{name}: {rows / seconds:,.0f} rows a second, {seconds:.2f} s, {cores / rows * 1e6:.2f} core-seconds per million rows")
    ratio = statistics.median(their[0] / our[0] for our, their in zip(ours, theirs))
    print(f"waglan is {ratio:.2f} times as fast as DuckDB")
    print(f"at rest: waglan {parquet_size(data / 'events') / rows:.1f}, DuckDB {(folder / 'peer.parquet').stat().st_size / rows:.1f} bytes a row")
    shutil.rmtree(data)
    subprocess.run([release / "waglan", "demo", "--tables-only", "--data", data], check=True, stderr=subprocess.DEVNULL)
    print(f"peak memory: {peak([str(part) for part in ingest]):.0f} MiB")
