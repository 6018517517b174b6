"""What a machine can do to a run: one function per fault, each on a run of real training.

A fault raises Difference where something was lost, differs from an undisturbed run or is left
over, and Skipped where this machine cannot make it. `tests/runs/test_endure.py` tries each once,
`endure.py` for as long as you like.
"""

import ctypes
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[2]))

from engine.config import RunConfig, configure  # noqa: E402
from engine.errors import StoreError  # noqa: E402
from engine.files import write_json
from engine.runs.executors import PRELOADED  # noqa: E402
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner  # noqa: E402
from engine.runs.schema import ARRAYS
from tests.records import read_records

PATIENCE = 300.0  # seconds for one process
MB = 2**20


class Difference(AssertionError):
    """A run that is not what it would have been undisturbed; the message says where."""


class Skipped(RuntimeError):
    """A fault that this machine cannot make."""


@dataclass
class Place:
    """Where faults are tried: a folder, settings, and the undisturbed run of these settings."""

    root: Path
    config: RunConfig
    whole: RunFolder
    seconds: float  # that the undisturbed run took

    @classmethod
    def make(cls, root: Path, **settings) -> "Place":
        config = configure(
            **dict(
                dataset="digits",
                limit=400,
                epochs=24,
                warmup=1,
                correction_start=2,
                k=2,
                state_interval=6,
                device="cpu",
                threads=1,
            )
            | settings
        )
        expect(finish(begin(root / "whole", config)), "done")
        begun = time.monotonic()  # the first process waits for libraries
        expect(finish(begin(root / "again", config)), "done")
        seconds, whole = time.monotonic() - begun, RunFolder(root / "whole")
        assert_equal(whole, RunFolder(root / "again"))
        return cls(root, config, whole, seconds)

    def new(self, name: str) -> Path:
        """A folder for a run that is to come."""
        shutil.rmtree(self.root / name, ignore_errors=True)
        return self.root / name


# --- processes that train


def begin(folder: Path, config: RunConfig, prepare: Callable[..., None] | None = None, *given):
    """A process that trains a run to its end, from any state; prepare(*given) first."""
    context = get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, "tests.benchmarks.faults"])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(folder, config, sender, prepare, given))
    process.start()
    sender.close()
    return process, receiver


def _work(folder: Path, config: RunConfig, sender, prepare, given) -> None:
    if prepare is not None:
        prepare(*given)
    try:
        there = (folder / "config.json").exists()
        runner = Runner.resume(folder) if there else Runner.new(config, folder)
    except StoreError as error:
        sender.send(("refused", str(error), True))
        return
    runner.run()
    status = runner.status
    sender.send((status.state, status.message or status.error, status.foreseen))


def finish(begun) -> tuple[str, str, bool]:
    """How it ended: its state, or "killed"; its message; whether that was foreseen."""
    process, receiver = begun
    process.join(PATIENCE)
    if process.exitcode is None:
        process.kill()
        raise Difference(f"a process hung for {PATIENCE:g} s")
    try:
        return receiver.recv()
    except EOFError:
        return "killed", f"exit code {process.exitcode}", False
    finally:
        receiver.close()


def expect(ended: tuple[str, str, bool], state: str, words: str = "") -> None:
    if ended[0] != state or words not in ended[1] or (state == "failed" and not ended[2]):
        raise Difference(f"expected {state} {words!r}, got {ended}")


def wait_for_epochs(folder: Path, n: int, begun) -> None:
    """Until a run has so many epochs on disk, or its process has ended."""
    deadline = time.monotonic() + PATIENCE
    while begun[0].is_alive() and time.monotonic() < deadline:
        if (folder / "epochs.jsonl").exists() and len(read_records(folder)) >= n:
            return
        time.sleep(0.01)


def ends_equal(place: Place, folder: Path) -> None:
    """Resume a run to its end; it has to equal the undisturbed one, bit for bit."""
    if (folder / "config.json").exists() and RunFolder(folder).status["state"] != "done":
        expect(finish(begin(folder, place.config)), "done")
    assert_equal(place.whole, RunFolder(folder))


def assert_equal(whole: RunFolder, run: RunFolder) -> None:
    """Raise Difference where two runs differ: arrays, labels, records, states, leftovers."""
    if run.status["state"] != "done":
        raise Difference(f"{run.folder} is {run.status}")
    records = [[{**r, "seconds": 0} for r in one.epochs] for one in (whole, run)]
    if records[0] != records[1]:
        raise Difference(f"{run.folder}: other records")
    for name in ARRAYS:
        if whole.array(name).tobytes() != run.array(name).tobytes():
            raise Difference(f"{run.folder}: array {name}")
    for name, values in whole.labels.items():
        if not np.array_equal(values, run.labels[name]):
            raise Difference(f"{run.folder}: labels {name}")
    if whole.checkpoints() != run.checkpoints():
        raise Difference(f"{run.folder} keeps the states of {run.checkpoints()}")
    for epoch in whole.checkpoints():
        if not _same(whole.load_checkpoint(epoch), run.load_checkpoint(epoch)):
            raise Difference(f"{run.folder}: state after epoch {epoch}")
    if left := [*run.folder.rglob("*.tmp")]:
        raise Difference(f"{run.folder}: left over {left}")


def _same(a, b) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return a.equal(b) if hasattr(a, "equal") else a == b


# --- faults


def kills(place: Place, random: Random, n: int = 6) -> int:
    """kill -9 at random times, at most n of a run; returns how many there were."""
    folder, done = place.new("killed"), 0
    while done < n:
        begun = begin(folder, place.config)
        begun[0].join(random.uniform(0, 0.8 * place.seconds))
        if begun[0].exitcode is not None:
            if RunFolder(folder).status["state"] != "done":
                raise Difference(f"{folder} ended by itself: {finish(begun)}")
            break
        begun[0].kill()
        finish(begun)
        done += 1
        if not (folder / "config.json").exists():  # nothing of it counts yet
            shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        expect(finish(begin(folder, place.config)), "done")
    ends_equal(place, folder)
    return done


def no_last_word(place: Place, random: Random) -> None:
    """A kill after the last epoch and before "done", while the state before it is still there."""
    folder = place.new("no-last-word")
    shutil.copytree(place.whole.folder, folder)
    write_json(folder / "status.json", {"state": "running", "message": "", "time": 0.0})
    (folder / "status.tmp").write_text('{"sta')
    last = place.whole.checkpoints()[-1]
    before = folder / "states" / f"{last - 1}.pt"
    if before.exists():
        raise ValueError("state_interval keeps the state before the last: choose another")
    shutil.copy(folder / "states" / f"{last}.pt", before)
    ends_equal(place, folder)


def full_disk(place: Place, random: Random, size: int | None = None) -> None:
    """A disk that is full after `size` bytes, at resume still, and then has room again."""
    whole = _bytes_of(place.whole.folder)
    size = size or random.randrange(4096, whole)
    with small_disk(place.root / "disk", size) as disk:
        folder = disk / "run"
        ended = finish(begin(folder, place.config))
        expect(ended, "failed" if ended[0] != "done" else "done")
        if ended[0] == "failed" and "the disk is full" not in ended[1]:
            raise Difference(f"a full disk is called {ended[1]!r}")
        if (folder / "config.json").exists() and ended[0] == "failed":
            expect(finish(begin(folder, place.config)), "failed", "the disk is full")
        elif ended[0] == "failed" and [*folder.iterdir()]:
            raise Difference(f"left over: {[*folder.iterdir()]}")
        subprocess.run(["mount", "-o", f"remount,size={2 * whole + MB}", str(disk)], check=True)
        if not (folder / "config.json").exists():
            expect(finish(begin(folder, place.config)), "done")
        ends_equal(place, folder)


def read_only(place: Place, random: Random) -> None:
    """A folder that can be written no more from some epoch on, and later again."""
    folder = place.new("read-only")
    begun = begin(folder, place.config, _without_root)
    wait_for_epochs(folder, random.randrange(1, 4), begun)
    paths = [folder, folder / "arrays", folder / "states"]
    for path in paths:
        path.chmod(0o555)
    try:
        expect(finish(begun), "failed", "cannot be written")
        ended = finish(begin(folder, place.config, _without_root))
        expect(ended, "failed", "cannot be written")
    finally:
        for path in paths:
            path.chmod(0o755)
    ends_equal(place, folder)


def folder_deleted(place: Place, random: Random) -> None:
    """The run's folder, or its states alone, deleted in training: reported, not created again."""
    for part in (".", "states"):
        folder = place.new("deleted")
        begun = begin(folder, place.config)
        wait_for_epochs(folder, random.randrange(1, 4), begun)
        shutil.rmtree(folder / part, ignore_errors=True)
        shutil.rmtree(folder / part, ignore_errors=True)  # what was being written meanwhile
        expect(finish(begun), "failed", "cannot be written")
        if part == ".":
            if folder.exists():
                raise Difference(f"{folder} was created again")
        else:
            expect(finish(begin(folder, place.config)), "failed", "keeps the network of no epoch")


def few_descriptors(place: Place, random: Random, limits: tuple[int, ...] = (64, 24, 14)) -> None:
    """ulimit -n: a run needs few open files."""
    for limit in limits:
        folder = place.new("descriptors")
        ended = finish(begin(folder, place.config, _limit, resource.RLIMIT_NOFILE, limit))
        expect(ended, "done")
        ends_equal(place, folder)


def little_memory(place: Place, random: Random, megabytes: tuple[int, ...] = (60, 300)) -> None:
    """ulimit -v: a run ends with a sentence about memory, or well; with more it continues."""
    for more in megabytes:
        folder = place.new("memory")
        ended = finish(begin(folder, place.config, _limit_memory, more * MB))
        if ended[0] != "done":
            expect(ended, "failed", "not enough memory")
        if not (folder / "config.json").exists():
            expect(finish(begin(folder, place.config)), "done")
        ends_equal(place, folder)


def two_resumes(place: Place, random: Random) -> None:
    """One of two that resume a run at once continues, the other is refused."""
    folder = place.new("twice")
    begun = begin(folder, place.config)
    wait_for_epochs(folder, random.randrange(1, 6), begun)
    begun[0].kill()
    finish(begun)
    ended = sorted(finish(one) for one in [begin(folder, place.config) for _ in range(2)])
    expect(ended[0], "done")
    if ended[1][0] not in ("failed", "refused"):
        raise Difference(f"two went on: {ended}")
    ends_equal(place, folder)


FAULTS = {
    "kill -9": kills,
    "no last word": no_last_word,
    "full disk": full_disk,
    "read-only folder": read_only,
    "folder deleted": folder_deleted,
    "few descriptors": few_descriptors,
    "little memory": little_memory,
    "two resumes": two_resumes,
}


# --- what the machine must allow


@contextmanager
def small_disk(folder: Path, size: int):
    """A file system of so many bytes."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        raise Skipped("mounting a small disk is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _limit(kind: int, value: int) -> None:
    resource.setrlimit(kind, (value, value))


def _limit_memory(more: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + more)


def _without_root() -> None:
    """Give up root's right to write where no user may (CAP_DAC_OVERRIDE and its like)."""
    if os.geteuid() != 0:
        return
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    library = ctypes.CDLL(None, use_errno=True)
    library.capget(header, data)
    for row in range(3):
        data[row] &= ~0b1110
    if library.capset(header, data):
        raise OSError(ctypes.get_errno(), "capset")


def _bytes_of(folder: Path) -> int:
    """Bytes that a run takes on disk; holes take none."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
