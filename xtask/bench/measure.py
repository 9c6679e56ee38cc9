"""What the benches have in common: commands with their time and memory, and stores for the program."""

import datetime
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path


def measured(command, until=None):
    """Wall seconds, core-seconds and peak MiB of a command; with `until`, also when a line with that word was said."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said, reached = [], None
    for line in process.stderr:
        said.append(line)
        if until and until in line:
            reached = time.monotonic() - start
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        sys.exit("".join(said))
    return {
        "seconds": time.monotonic() - start,
        "reached": reached,
        "cores": usage.ru_utime + usage.ru_stime,
        "memory": usage.ru_maxrss / 1024,
        "said": "".join(said).strip(),
        "out": out,
    }


def with_tables(release, data):
    """An empty store with the made-up country's tables."""
    shutil.rmtree(data, ignore_errors=True)
    subprocess.run([release / "waglan", "demo", "--tables-only", "--data", data], check=True, stderr=subprocess.DEVNULL)


def sinkhole_report(release, path, rows, day="2024-01-15"):
    """A report of so many rows, packed where its name says so."""
    subprocess.run([release / "examples/sinkhole_report", str(rows), path, str(day)], check=True, stderr=subprocess.DEVNULL)


def median(runs, of):
    return statistics.median(run[of] for run in runs)


def parquet_size(folder):
    return sum(file.stat().st_size for file in Path(folder).rglob("*.parquet"))


def machine():
    """What a figure must be told with: when and of what, and on which machine."""
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    return f"{datetime.date.today()}, commit {commit}; {os.cpu_count()} processors, {model}, {memory:.0f} GiB"
