"""A long life of the server in short: many page views and runs; does anything grow?

    python tests/benchmarks/longlife.py --views 2000 --runs 200 --out longlife.json

Visitors come, open ten pages each of the newest runs, start a short run now and then, and leave.
Twenty times on the way the server's memory, threads, open files and processes are read, each time
after all runs have ended. The first quarter is to warm up.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from common import finish, options
from served import server_process
from starved import usage
from viewers import Viewer, spread

from engine.errors import StoreError
from engine.files import read_json
from engine.hardware import hardware_info

PAGES = (
    "",
    "train",
    "losses",
    "map",
    "labels",
    "sample",
    "noise",
    "compare",
    "lesson",
    "your_data",
    "runs",
)
SHORT = {"limit": 400, "epochs": 4, "warmup": 1, "correction_start": 2}
READINGS = 20
SECONDS_KEPT = 5  # that the server remembers visitors who left, here; they hold three files each
MOST = {"rss_mb": 1.05, "threads": 1.0, "files": 1.0, "processes": 1.0}  # growth that is none


async def visit(url: str, number: int, seconds: list[float], n: int, starts: bool) -> list[str]:
    """One visitor: a run of their own if it is time for one, n pages, and away."""
    visitor = await Viewer.join(url)
    try:
        await visitor.open("train", **SHORT, seed=number)
        if starts:
            await visitor.press("start")
        for page in (PAGES * 2)[number % len(PAGES) :][:n]:
            seconds.append((await visitor.open(page)).seconds)
    finally:
        await visitor.leave()
    return visitor.problems


async def quiet(url: str, root: Path) -> None:
    """Wait until no run is queued or training and the server forgot the visitors who left."""
    ended = ("done", "failed", "stopped")
    while not all(_state(folder) in ended for folder in root.iterdir() if folder.is_dir()):
        await asyncio.sleep(0.2)
    await asyncio.sleep(SECONDS_KEPT + 1)
    await (await Viewer.join(url)).leave()  # sessions past their time end when another one does
    await asyncio.sleep(1)


def _state(folder: Path) -> str:
    try:
        return read_json(folder / "status.json")["state"]
    except StoreError:
        return "queued"


async def live(url: str, pid: int, root: Path, views: int, runs: int) -> dict[str, Any]:
    n_visitors = -(-views // len(PAGES))
    every, readings, seconds, problems = max(n_visitors // READINGS, 1), [], [], set()
    started = 0
    for number in range(n_visitors):
        while started < runs * (number + 1) // n_visitors - 1:
            problems |= set(await visit(url, 10_000 + started, seconds, 1, True))
            started += 1
        starts = started < runs * (number + 1) // n_visitors
        started += starts
        problems |= set(await visit(url, number, seconds, len(PAGES), starts))
        if (number + 1) % every == 0:
            await quiet(url, root)
            readings.append({"views": len(seconds), "runs": started, **usage(pid)})
            say(readings[-1])
    return {"readings": readings, "seconds": spread(seconds), "problems": sorted(problems)}


def say(row: dict[str, Any]) -> None:
    print(
        f"{row['views']:5d} views {row['runs']:4d} runs {row['rss_mb']:6.0f} MB "
        f"{row['threads']:4d} threads {row['files']:4d} files {row['processes']:2d} processes",
        flush=True,
    )


def verdict(readings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last quarter's mean against the second quarter's; counts may differ by one."""
    quarter = max(len(readings) // 4, 1)
    rows = []
    for what, most in MOST.items():
        early, late = (
            sum(row[what] for row in part) / len(part)
            for part in (readings[quarter : 2 * quarter] or readings[:1], readings[-quarter:])
        )
        met = late <= max(early * most, early + 1 if most == 1.0 else 0)
        rows.append({"what": what, "warm": early, "end": late, "growth": late / early, "met": met})
    return rows


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--views", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=200)
    arguments = parser.parse_args()
    measured_on, began = hardware_info(torch.device("cpu")), time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "runs"
        root.mkdir()
        kept = {"STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL": str(SECONDS_KEPT)}
        with server_process(root, MIXNN_PER_VISITOR="50", **kept) as server:
            found = asyncio.run(
                live(server.url, server.process.pid, root, arguments.views, arguments.runs)
            )
    rows = verdict(found["readings"])
    settings = {"views": arguments.views, "runs": arguments.runs, "run": SHORT}
    found |= {"table": rows, "total_seconds": time.perf_counter() - began}
    finish("longlife", measured_on, settings, found, arguments.out)
    for row in rows:
        missed = "" if row["met"] else "   missed"
        print(f"{row['what']:12s}{row['warm']:9.1f}{row['end']:9.1f}{row['growth']:7.3f}{missed}")


if __name__ == "__main__":
    main()
