"""The most memory that one report takes, packed or as one document, whatever its size. Above the limit is a failure."""

import json
import os
import sys
import tempfile
from pathlib import Path

from measure import machine, measured, sinkhole_report, with_tables

release, sizes = Path(sys.argv[1]), [int(rows) for rows in sys.argv[2:]]
# What the program plans for where its configuration says nothing.
LIMIT = 512


def document(path, rows):
    """A list of servers as one JSON document, with nothing between its rows that a reader could stop at."""
    with path.open("w") as out:
        for place in range(rows):
            server = {
                "ip_address": f"10.{place >> 16 & 255}.{place >> 8 & 255}.{place & 255}",
                "port": place % 65535 + 1,
                "status": "online",
                "hostname": f"vps-{place}.example.net",
                "first_seen": "2024-01-15 12:34:56",
                "last_online": "2024-01-15",
                "malware": ("QakBot", "Emotet", "Dridex")[place % 3],
                "note": "x" * 200,
            }
            out.write(("[" if place == 0 else ",") + json.dumps(server))
        out.write("]")


def told(what, path, feed):
    """Reads a report into a store of its own."""
    data = path.parent / "data"
    with_tables(release, data)
    run = measured([release / "waglan", "ingest", "--data", data, "--feed", feed, path], "new events")
    size = path.stat().st_size / 2**20
    path.unlink()
    print(f"{what}, {size:.0f} MiB: {run['memory']:.0f} MiB at most; {run['reached']:.1f} s to committed events, {run['seconds']:.1f} s in all")
    return run["memory"]


with tempfile.TemporaryDirectory(dir=os.environ.get("WAGLAN_BENCH_FOLDER")) as folder:
    folder = Path(folder)
    print(machine())
    most = 0
    for rows in sizes:
        report = folder / "2024-01-15-event4_sinkhole_http-bench.csv.zst"
        sinkhole_report(release, report, rows)
        most = max(most, told(f"{rows} rows of delimited text, packed", report, "shadowserver/event_sinkhole_http"))
    report = folder / "ipblocklist.json"
    document(report, 1_000_000)
    most = max(most, told("1000000 rows of one JSON document", report, "abuse-ch/feodotracker"))
    if most > LIMIT:
        sys.exit(f"{most:.0f} MiB are more than the limit of {LIMIT}")
