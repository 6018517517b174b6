"""The maps of a run's epochs, laid out in order in a process of its own.

UMAP compiles for seconds and holds the interpreter's lock while it works: in the process of the
pages it would stop them all. `Mapper` starts `python -m engine.embedding.worker` and tells it by
lines of JSON what to lay out; maps appear whole in the run folder:

    maps/umap2/000007.npy    (P, 2) float32, the panel's map after epoch 7; umap3 holds 3-D ones

Each map starts from the one before, read back from its file, so a mapper that was killed, or two
of them at once, lay out the same. A fork's first map starts from its parent's.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from engine.embedding import projection
from engine.errors import StoreError
from engine.memory import as_shortage, shows_shortage
from engine.runs import lineage
from engine.runs.folder import UNREADABLE, RunFolder, read_array

DIMS = (2, 3)
POLL = 0.5  # seconds between two looks at a run that has no new epoch
FORGET = 60.0  # seconds after which a run that nobody asks for is not watched any more
NICENESS = 10  # the pages and the training go first
STARTS = 3  # of the process, if it dies by itself


def map_file(folder: Path | str, dims: int, epoch: int) -> Path:
    """Where the map of an epoch stands once it is laid out."""
    return Path(folder) / "maps" / f"umap{dims}" / f"{epoch:06d}.npy"


def laid_out(folder: Path | str, dims: int) -> list[int]:
    """Epochs whose map is there, in order."""
    files = map_file(folder, dims, 0).parent.glob("*.npy")
    found = (path.stem for path in files)
    return sorted(int(stem) for stem in found if re.fullmatch("[0-9]{6,9}", stem))


def read_map(folder: Path | str, dims: int, epoch: int) -> np.ndarray | None:
    """(P, dims) float32, None where the epoch is not laid out or its file cannot be read."""
    try:
        layout = read_array(folder, map_file("", dims, epoch).as_posix())
    except UNREADABLE:
        return None
    fits = layout.dtype == np.float32 and layout.ndim == 2 and layout.shape[1] == dims
    return layout if fits and np.isfinite(layout).all() else None


def lay_out_next(folder: Path | str, dims: int) -> int | None:
    """Lay out the first epoch of a run that has no map yet; returns it, None where all have one.

    Raises StoreError for a folder that is none or cannot be written.
    """
    run = RunFolder(folder)
    done = set(laid_out(folder, dims))
    for row, record in enumerate(run.epochs):
        if record["epoch"] in done:
            continue
        features = run.array("panel_features")[row]
        before = _map_before(run, dims, record["epoch"])
        if before is not None and before.shape != (len(features), dims):
            before = None  # a parent with another panel
        _write(map_file(folder, dims, record["epoch"]), projection.umap(features, dims, before))
        return record["epoch"]
    return None


def _map_before(run: RunFolder, dims: int, epoch: int) -> np.ndarray | None:
    if epoch > run.info["first_epoch"] or run.info["parent"] is None:
        return read_map(run.folder, dims, epoch - 1)
    maps = (read_map(folder, dims, epoch - 1) for folder in lineage.places(run))
    return next((found for found in maps if found is not None), None)


def _write(path: Path, layout: np.ndarray) -> None:
    """A file that appears whole. A run folder that was deleted meanwhile is not made again."""
    try:
        for folder in (path.parent.parent, path.parent):
            folder.mkdir(exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}.tmp")
        with open(beside, "wb") as file:
            np.save(file, layout)
        os.replace(beside, path)
    except OSError as error:
        raise StoreError(f"the map cannot be written to {path}: {error.strerror}") from error


class Mapper:
    """One mapper process, started at the first wish; every method may be called from any thread.

    The process ends with `close`, with the last reference to the Mapper, and with its parent.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._starts = 0
        self._refused = ""  # why the system started no process
        self._failed: dict[tuple[str, int], str] = {}

    def ask(self, folder: Path | str, dims: int = 2, *, again: bool = False) -> None:
        """Wish for the maps of a run, ahead of earlier wishes; to be repeated while it is watched.

        again: also where it failed before.
        """
        if dims not in DIMS:
            raise ValueError(f"dims = {dims}: allowed are {', '.join(map(str, DIMS))}")
        key = _key(folder, dims)
        with self._lock:
            if again:
                self._starts = 0
                self._failed.pop(key, None)
            if key not in self._failed and self._is_running():
                self._worker.send({"run": key[0], "dims": dims})

    def state(self, folder: Path | str, dims: int = 2) -> tuple[str, str]:
        """How a wish stands and why: ("warming up" | "working" | "failed", message)."""
        with self._lock:
            failed = self._failed.get(_key(folder, dims))
            if failed:
                return "failed", failed
            if self._refused:
                return "failed", f"no process that lays out maps can be started: {self._refused}"
            if self._worker is not None and not self._worker.is_alive():
                return "failed", f"the process that lays out maps ended: {self._worker.last_words}"
            ready = self._worker is not None and self._worker.ready
            return ("working" if ready else "warming up"), ""

    def close(self) -> None:
        """End the process."""
        with self._lock:
            if self._worker is not None:
                self._worker.kill()
                self._worker = None

    def _is_running(self) -> bool:
        if self._worker is not None and self._worker.is_alive():
            return True
        if self._starts >= STARTS:
            return False
        self._starts += 1
        try:
            self._worker = _Worker(self._failed)
        except (OSError, MemoryError, RuntimeError) as error:
            self._worker, self._refused = None, str(as_shortage(error) or error)
            return False
        self._refused = ""
        weakref.finalize(self, self._worker.kill)
        return True


def _key(folder: Path | str, dims: int) -> tuple[str, int]:
    return str(Path(folder).resolve()), dims


class _Worker:
    """The process, and the threads that hear what it says; they know no Mapper, so that it can go.

    failed: where to put what it says of wishes that failed.
    """

    def __init__(self, failed: dict[tuple[str, int], str]):
        self.ready = False
        self._failed = failed
        self._words: deque[str] = deque(maxlen=20)
        threads = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "engine.embedding.worker"],
            cwd=Path(__file__).resolve().parents[2],
            env=os.environ | threads,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            for listen, stream in (
                (self._hear, self._process.stdout),
                (self._words.append, self._process.stderr),
            ):
                threading.Thread(target=_each_line, args=(stream, listen), daemon=True).start()
        except BaseException:
            self.kill()
            raise

    @property
    def last_words(self) -> str:
        """Why it ended, as far as it said so."""
        words = " ".join(self._words)
        if shows_shortage(words):
            return "not enough memory for it: stop other runs or programs, then try again"
        return words or f"exit status {self._process.returncode}"

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def send(self, wish: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # it ended just now, which `is_alive` says
            self._process.stdin.write(json.dumps(wish) + "\n")
            self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _hear(self, line: str) -> None:
        with contextlib.suppress(ValueError):
            told = json.loads(line)
            self.ready = True
            if "error" in told:
                self._failed[told["run"], told["dims"]] = told["error"]


def _each_line(stream: TextIO, listen: Callable[[str], None]) -> None:
    for line in stream:
        listen(line.rstrip())


class Service:
    """The other side: wishes come in, maps go to disk, one epoch at a time, newest wish first."""

    def __init__(self, tell: Callable[[dict[str, Any]], None]):
        self._tell = tell
        self._wishes: dict[tuple[str, int], float] = {}  # -> when it was last wished for
        self._new = threading.Condition()

    def wish(self, line: str) -> None:
        """Take up a line of JSON: {"run": folder, "dims": 2}. A known wish keeps its place."""
        told = json.loads(line)
        with self._new:
            self._wishes[told["run"], told["dims"]] = time.monotonic()
            self._new.notify()

    def step(self) -> bool:
        """Lay out one epoch; False where there was nothing to do."""
        with self._new:
            wishes = list(self._wishes.items())
        for key, asked in reversed(wishes):
            try:
                epoch = lay_out_next(*key)
            except Exception as error:
                self._forget(key)
                foreseen = as_shortage(error) or isinstance(error, StoreError) and error
                said = str(foreseen) if foreseen else repr(error)
                self._tell({"run": key[0], "dims": key[1], "error": said})
                continue
            if epoch is not None:
                self._tell({"run": key[0], "dims": key[1], "epoch": epoch})
                return True
            if time.monotonic() - asked > FORGET:
                self._forget(key)
        return False

    def wait(self) -> None:
        """Until there may be work again."""
        with self._new:
            self._new.wait(POLL if self._wishes else None)

    def _forget(self, key: tuple[str, int]) -> None:
        with self._new:
            self._wishes.pop(key, None)


def serve() -> None:
    """Lay out what standard input asks for, until it closes, which it does when the parent ends."""
    os.nice(NICENESS)

    def tell(message: dict[str, Any]) -> None:
        print(json.dumps(message), flush=True)

    service = Service(tell)

    def listen() -> None:
        _each_line(sys.stdin, service.wish)
        os._exit(0)  # maps are written whole, so nothing is lost

    threading.Thread(target=listen, daemon=True).start()
    for dims in DIMS:  # compiles now what every map needs
        points = np.random.default_rng(0).normal(size=(64, 8))
        projection.umap(points, dims, projection.umap(points, dims))
    tell({"state": "ready"})
    while True:
        if not service.step():
            service.wait()


if __name__ == "__main__":
    serve()
