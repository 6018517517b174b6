"""Kills and machine faults for as long as you like: nothing may be lost.

    python tests/benchmarks/endure.py --kills 1000    # kill -9 at random times, every fault once
    python tests/benchmarks/endure.py --hours 24      # all of it repeatedly, next to a server

With --hours one server lives from beginning to end: in each round a visitor opens its pages and
trains a run there, and its memory, threads and open files are noted. It stops at the first
difference, says which seed made it, and keeps the folder. See faults.py for each fault. The
servers need the package websockets.
"""

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from random import Random

import torch

sys.path.append(str(Path(__file__).resolve().parents[2]))

from engine.files import write_json
from engine.hardware import hardware_info
from engine.runs.folder import RunFolder
from tests.benchmarks.common import finish  # noqa: E402
from tests.benchmarks.faults import (  # noqa: E402
    FAULTS,
    Difference,
    Place,
    Skipped,
    ends_equal,
    kills,
)
from tests.browser.conftest import Server, serve  # noqa: E402
from tests.records import read_records

MOST_KILLS = 6  # of one run
IN_TIME = 10.0  # seconds that a server has to end in
PAGES = ("", "losses", "runs", "labels")


def main() -> int:
    options = _options()
    root = Path(tempfile.mkdtemp(prefix="endure-", dir=options.folder))
    print(f"in {root}", flush=True)
    tally = {name: {"tried": 0, "seconds": 0.0} for name in (*FAULTS, "server")}
    tally["kill -9"]["kills"] = 0
    settings = {"kills": options.kills, "hours": options.hours, "seed": options.seed}
    seed, status, lasting = options.seed, 0, None
    try:
        place = Place.make(root, epochs=options.epochs)
        end = time.monotonic() + 3600 * options.hours
        if options.hours and not options.no_server:
            (root / "lasting").mkdir()
            lasting, tally["lasting server"] = serve(root / "lasting"), {"rounds": []}
        while True:
            _round(place, seed, options.kills, tally, server=not options.no_server)
            if lasting is not None:
                tally["lasting server"]["rounds"].append(asyncio.run(_use(lasting)))
            _print(tally)
            seed += 1
            if time.monotonic() >= end:
                break
        if lasting is not None:
            lasting.stop()
        shutil.rmtree(root)
    except Difference as difference:
        print(f"seed {seed}: {difference}\nthe folder stays: {root}", flush=True)
        tally["difference"], status = f"seed {seed}: {difference}", 1
    finally:
        if lasting is not None:
            lasting.stop()
    finish("endure", hardware_info(torch.device("cpu")), settings, tally, options.out)
    return status


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="kill -9 a round (default: 50)")
    parser.add_argument("--hours", type=float, default=0.0, help="repeat for so long")
    parser.add_argument("--epochs", type=int, default=24, help="of a run (default: 24)")
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    parser.add_argument("--folder", type=Path, help="where to work (default: the system's /tmp)")
    parser.add_argument("--no-server", action="store_true", help="leave out the server")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args()


def _round(place: Place, seed: int, n_kills: int, tally: dict, *, server: bool) -> None:
    """Kills, then every other fault once, then a server's life."""
    random, done = Random(seed), 0
    while done < n_kills:
        with _timed(tally["kill -9"]):
            killed = kills(place, random, min(MOST_KILLS, n_kills - done))
        done += killed
        tally["kill -9"]["kills"] += killed
        print(f"seed {seed}: {done} of {n_kills} kills", flush=True)
    for name, fault in FAULTS.items():
        if name == "kill -9":
            continue
        try:
            with _timed(tally[name]):
                fault(place, random)
            print(f"seed {seed}: {name}", flush=True)
        except Skipped as why:
            tally[name] |= {"tried": 0, "skipped": str(why)}
    if server:
        with _timed(tally["server"]):
            tally["server"].setdefault("rounds", []).append(server_life(place))


@contextmanager
def _timed(row: dict):
    """Count what was tried, and its seconds."""
    begun = time.monotonic()
    try:
        yield
    finally:
        row["seconds"] = round(row["seconds"] + time.monotonic() - begun, 1)
        row["tried"] += 1


def server_life(place: Place) -> dict[str, float | int]:
    """A server with a queue of three: killed, restarted, stopped, restarted.

    What waited is done in the end and equals the undisturbed run; what trained is resumed.
    """
    root = place.new("server")
    root.mkdir()
    request = dict(
        kind="new", config=place.config.model_dump(mode="json"), visitor="endure", pinned=True
    )
    write_json(root / ".queue.json", [request] * 3)
    report = {}
    for number, name in ((signal.SIGKILL, "kill"), (signal.SIGTERM, "term"), (None, "done")):
        server = serve(root)
        try:
            report |= asyncio.run(_visit(server, name, wait_for_all=number is None))
            begun = time.monotonic()
            server.process.send_signal(number or signal.SIGTERM)
            server.process.wait(2 * IN_TIME)
            report[f"{name}: seconds to end"] = round(time.monotonic() - begun, 2)
        finally:
            server.process.kill()
            server.process.wait()
        for folder in _folders(root):
            if (folder / "config.json").exists():
                ends_equal(place, folder)
        if number != signal.SIGKILL and report[f"{name}: seconds to end"] > IN_TIME:
            raise Difference(f"a server took {report} to end")
    return report | {"runs": len(_folders(root))}


async def _visit(server: Server, name: str, *, wait_for_all: bool) -> dict[str, float]:
    """Look at every page until a run trains, or until all are done; the server's memory in MB."""
    from tests.benchmarks.viewers import Viewer

    viewer = await Viewer.join(server.url)
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        for page in PAGES:
            await viewer.open(page)
        if not wait_for_all and any(_n_epochs(folder) > 1 for folder in _folders(server.root)):
            break
        if wait_for_all and all(_is_done(folder) for folder in _folders(server.root)):
            break
        await asyncio.sleep(0.2)
    else:
        raise Difference(f"{server.root}: the queue does not move")
    await viewer.leave()
    return {f"{name}: MB": _taken(server)["MB"]}


async def _use(server: Server) -> dict[str, int]:
    """A visitor of a running server trains a run and opens every page; the resources it takes."""
    from tests.benchmarks.viewers import Viewer

    viewer, before = await Viewer.join(server.url), len(_folders(server.root))
    await viewer.open("train")
    await viewer.press("start")
    deadline = time.monotonic() + 600
    while len(_folders(server.root)) == before or not all(map(_is_done, _folders(server.root))):
        if time.monotonic() > deadline:
            raise Difference(f"{server.root}: the queue does not move")
        await asyncio.sleep(0.5)
    for page in PAGES:
        await viewer.open(page)
    await viewer.leave()
    return _taken(server)


def _taken(server: Server) -> dict[str, int]:
    """Memory in MB, threads and open files of a server."""
    home = Path(f"/proc/{server.process.pid}")
    pages = int((home / "statm").read_text().split()[1])
    return {
        "MB": round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6),
        "threads": len(list((home / "task").iterdir())),
        "files": len(list((home / "fd").iterdir())),
    }


def _folders(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_dir() and path.name[0] != "."]


def _n_epochs(folder: Path) -> int:
    return len(read_records(folder)) if (folder / "epochs.jsonl").exists() else 0


def _is_done(folder: Path) -> bool:
    return _n_epochs(folder) > 0 and RunFolder(folder).status["state"] == "done"


def _print(tally: dict) -> None:
    for name, row in tally.items():
        words = ", ".join(f"{key} {value}" for key, value in row.items() if key != "rounds")
        print(f"{name:18s} {words}", flush=True)
        for round_ in row.get("rounds", [])[-1:]:
            print(f"{'':18s} {round_}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
