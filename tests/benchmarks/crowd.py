"""A class watches a run that trains, on a server with little processor, minute by minute.

    python tests/benchmarks/crowd.py --viewers 30 --minutes 20 --cores 0.3 --out crowd.json

Each viewer opens Train on the same live run and polls as a browser does. Per minute: answers to
their polls, seconds to an answer, the oldest poll without one, memory, threads and open files of
the server. Then they leave, and it is measured how long a new visitor waits for Lesson.
The clients, and this program, are not limited. Without --cores the server has all of them.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from common import finish, options
from served import server_process, wait_for
from starved import limited, usage
from viewers import Viewer, spread

from engine.config import configure
from engine.files import write_json
from engine.hardware import hardware_info
from tests.records import read_records

RUN = "watched"
PATIENCE = 300.0  # seconds for a page to open
RECOVERED = 2.0  # seconds in which a page opens on a server that has recovered


def prepare(root: Path) -> None:
    """A run that a server over this root starts by itself and trains longer than anyone watches."""
    config = configure(epochs=5000, seed=0).model_dump(mode="json")
    request = {"kind": "new", "visitor": "everyone", "pinned": True, "config": config, "name": RUN}
    write_json(root / ".queue.json", [request])


async def come(url: str, n: int, found: list[float]) -> list[Viewer]:
    """n viewers, half a second apart, whether or not the ones before have their page."""

    async def one() -> Viewer:
        began = time.perf_counter()
        viewer = await Viewer.join(url)
        await viewer.open("train", run=RUN, patience=PATIENCE)
        found.append(time.perf_counter() - began)
        return viewer

    tasks = []
    for _ in range(n):
        tasks.append(asyncio.create_task(one()))
        await asyncio.sleep(0.5)
    return await asyncio.gather(*tasks)


async def minute(viewers: list[Viewer], pid: int, seconds: float = 60.0) -> dict[str, Any]:
    """One minute of looking on."""
    for viewer in viewers:
        viewer.latencies.clear()
        viewer.busy = 0
    end, oldest, before = time.perf_counter() + seconds, 0.0, usage(pid)
    while time.perf_counter() < end:
        await asyncio.sleep(0.5)
        oldest = max([oldest, *(viewer.oldest() for viewer in viewers)])
    found = [latency for viewer in viewers for latency in viewer.latencies]
    times = spread(found) if found else {"n": 0, "median": None, "p95": None, "largest": None}
    now = usage(pid)
    return {
        "answers": times.pop("n"),
        **times,
        "oldest": oldest,
        "fewest_of_a_viewer": min(len(viewer.latencies) for viewer in viewers),
        "busy": sum(viewer.busy for viewer in viewers),
        "errors": sum(len(viewer.problems) for viewer in viewers),
        **now | {"cpu_seconds": now["cpu_seconds"] - before["cpu_seconds"]},
    }


async def recovery(url: str) -> float:
    """Seconds until a new visitor has Lesson, at the first try that is quick again."""
    began = time.perf_counter()
    while True:
        start = time.perf_counter()
        visitor = await Viewer.join(url)
        await visitor.open("lesson", patience=PATIENCE)
        await visitor.leave()
        if time.perf_counter() - start < RECOVERED:
            return time.perf_counter() - began


async def watch(url: str, pid: int, root: Path, n: int, minutes: int) -> dict[str, Any]:
    await (await Viewer.join(url)).open(
        "train", patience=PATIENCE
    )  # the first visit starts the queue
    wait_for(lambda: (root / RUN / "epochs.jsonl").exists(), 120)
    opening: list[float] = []
    viewers = await come(url, n, opening)
    rows = []
    for number in range(minutes):
        rows.append(await minute(viewers, pid))
        rows[-1]["epochs"] = len(read_records(root / RUN))
        say(number + 1, rows[-1])
    problems = sorted({problem for viewer in viewers for problem in viewer.problems})
    for viewer in viewers:
        await viewer.leave()
    return {
        "opening": spread(opening),
        "minutes": rows,
        "problems": problems,
        "recovery": await recovery(url),
    }


def say(number: int, row: dict[str, Any]) -> None:
    if number == 1:
        print("minute answers fewest  p50   p95  oldest busy  RSS thr files cpu  epochs")
    median, p95 = (row[k] if row[k] is not None else float("nan") for k in ("median", "p95"))
    print(
        f"{number:6d} {row['answers']:7d} {row['fewest_of_a_viewer']:6d} {median:5.2f} {p95:5.2f} "
        f"{row['oldest']:6.1f} {row['busy']:4d} {row['rss_mb']:5.0f} {row['threads']:3d} "
        f"{row['files']:5d} {row['cpu_seconds']:4.1f} {row['epochs']:6d}",
        flush=True,
    )


def verdict(found: dict[str, Any], starved: bool, n: int) -> list[dict[str, Any]]:
    """Each measurement with its goal. Memory: the last minute against the third."""
    rows, goal = found["minutes"], 10.0 if starved else 1.0 if n <= 30 else 2.0
    warm = rows[min(2, len(rows) - 1)]["rss_mb"]
    few = min(row["fewest_of_a_viewer"] for row in rows)
    table = [{"what": "fewest answers of a viewer in a minute", "goal": 1, "value": few}]
    table[0]["met"] = few >= 1
    for what, most, value in [
        ("p95 of an answer (s)", goal, max(row["p95"] or float("inf") for row in rows)),
        ("oldest look without answer (s)", 30.0, max(row["oldest"] for row in rows)),
        ("memory grows by (%)", 5.0, 100 * (rows[-1]["rss_mb"] / warm - 1)),
        ("recovery (s)", 10.0, found["recovery"]),
    ]:
        table.append({"what": what, "goal": most, "value": value, "met": value <= most})
    return table


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--viewers", type=int, default=30)
    parser.add_argument("--minutes", type=int, default=20)
    parser.add_argument("--cores", type=float, help="that the server may use; all by default")
    arguments = parser.parse_args()
    measured_on = hardware_info(torch.device("cpu"))
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "runs"
        root.mkdir()
        prepare(root)
        with server_process(root) as server, limited(server.process.pid, arguments.cores) as how:
            found = asyncio.run(
                watch(server.url, server.process.pid, root, arguments.viewers, arguments.minutes)
            )
    rows = verdict(found, arguments.cores is not None, arguments.viewers)
    settings = {
        "viewers": arguments.viewers,
        "minutes": arguments.minutes,
        "cores": arguments.cores,
        "limited_by": how,
    }
    finish("crowd", measured_on, settings, {"table": rows} | found, arguments.out)
    for row in rows:
        missed = "" if row["met"] else "   missed"
        print(f"{row['what']:42s}{row['goal']:7.1f}{row['value']:9.2f}{missed}")


if __name__ == "__main__":
    main()
