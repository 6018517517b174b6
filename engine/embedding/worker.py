"""The process that computes maps, and the object that starts it and sends it requests.

UMAP compiles for seconds and holds the interpreter's lock while it works: in the process of the
pages it would block them all. `EmbeddingWorker` starts `python -m engine.embedding.worker`, which
reads a line of JSON per request, {"run": folder, "dims": 2}, and writes engine.embedding.maps.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from engine.embedding import projection
from engine.embedding.maps import DIMS, embed_next_epoch
from engine.errors import StoreError, as_shortage, shows_shortage

POLL = 0.5  # seconds between two checks for a new epoch
FORGET = 60.0  # seconds after its last request at which a run is dropped
NICENESS = 10  # the pages and the training have priority
STARTS = 3  # of a process that keeps dying


class EmbeddingWorker:
    """One process that computes maps, started at the first request. Methods are thread-safe.

    The process ends with `close`, with the last reference to this object, and with its parent.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._starts = 0
        self._refused = ""  # why the system started no process
        self._failed: dict[tuple[str, int], str] = {}

    def request(self, folder: Path | str, dims: int = 2, *, again: bool = False) -> None:
        """Request the maps of a run, before earlier requests; repeat it while the run is shown.

        again: retry one that failed. Raises ValueError for other dims than 2 and 3.
        """
        if dims not in DIMS:
            raise ValueError(f"dims = {dims}: allowed are {', '.join(map(str, DIMS))}")
        key = _key(folder, dims)
        with self._lock:
            if again:
                self._starts = 0
                self._failed.pop(key, None)
            if key not in self._failed and (process := self._running()) is not None:
                process.send({"run": key[0], "dims": dims})

    def state(self, folder: Path | str, dims: int = 2) -> tuple[str, str]:
        """Status of a request and the reason: ("warming up" | "working" | "failed", message)."""
        with self._lock:
            failed = self._failed.get(_key(folder, dims))
            if failed:
                return "failed", failed
            if self._refused:
                return (
                    "failed",
                    f"the process that computes maps cannot be started: {self._refused}",
                )
            if self._process is not None and not self._process.is_alive():
                return "failed", f"the process for maps ended: {self._process.last_words}"
            ready = self._process is not None and self._process.ready
            return ("working" if ready else "warming up"), ""

    def close(self) -> None:
        """End the process."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process = None

    def _running(self) -> "_Process | None":
        """The process, which is started if necessary; None if it keeps dying or cannot start."""
        if self._process is not None and self._process.is_alive():
            return self._process
        if self._starts >= STARTS:
            return None
        self._starts += 1
        try:
            self._process = _Process(self._failed)
        except (OSError, MemoryError, RuntimeError) as error:
            self._process, self._refused = None, str(as_shortage(error) or error)
            return None
        self._refused = ""
        weakref.finalize(self, self._process.kill)
        return self._process


def _key(folder: Path | str, dims: int) -> tuple[str, int]:
    return str(Path(folder).resolve()), dims


class _Process:
    """The process and the threads that read its output, without a reference to their owner.

    failed: receives the messages of failed requests.
    """

    def __init__(self, failed: dict[tuple[str, int], str]):
        self.ready = False
        self._failed = failed
        self._errors: deque[str] = deque(maxlen=20)
        threads = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "engine.embedding.worker"],
            cwd=Path(__file__).resolve().parents[2],
            env=os.environ | threads,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            for receive, stream in (
                (self._receive, self._popen.stdout),
                (self._errors.append, self._popen.stderr),
            ):
                threading.Thread(target=_each_line, args=(stream, receive), daemon=True).start()
        except BaseException:
            self.kill()
            raise

    @property
    def last_words(self) -> str:
        """Why it ended, from its last error output."""
        text = " ".join(self._errors)
        if shows_shortage(text):
            return "not enough memory for it: stop other runs or programs, then try again"
        return text or f"exit status {self._popen.returncode}"

    def is_alive(self) -> bool:
        return self._popen.poll() is None

    def send(self, request: dict[str, Any]) -> None:
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError):  # it has just ended, see `is_alive`
            self._popen.stdin.write(json.dumps(request) + "\n")
            self._popen.stdin.flush()

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait()

    def _receive(self, line: str) -> None:
        with contextlib.suppress(ValueError):
            message = json.loads(line)
            self.ready = True
            if "error" in message:
                self._failed[message["run"], message["dims"]] = message["error"]


def _each_line(stream: IO[str] | None, receive: Callable[[str], None]) -> None:
    for line in stream or ():
        receive(line.rstrip())


class Service:
    """The loop of the process: one epoch at a time, newest request first.

    send: receives a message for each map and each failure.
    """

    def __init__(self, send: Callable[[dict[str, Any]], None]):
        self._send = send
        self._requests: dict[tuple[str, int], float] = {}  # -> time of the last request
        self._new = threading.Condition()

    def request(self, line: str) -> None:
        """Add a line of JSON: {"run": folder, "dims": 2}. A known request keeps its place."""
        request = json.loads(line)
        with self._new:
            self._requests[request["run"], request["dims"]] = time.monotonic()
            self._new.notify()

    def step(self) -> bool:
        """Compute the map of one epoch; False if there was nothing to do."""
        with self._new:
            requests = list(self._requests.items())
        for key, requested in reversed(requests):
            try:
                epoch = embed_next_epoch(*key)
            except Exception as error:
                self._forget(key)
                foreseen = as_shortage(error) or isinstance(error, StoreError) and error
                message = str(foreseen) if foreseen else repr(error)
                self._send({"run": key[0], "dims": key[1], "error": message})
                continue
            if epoch is not None:
                self._send({"run": key[0], "dims": key[1], "epoch": epoch})
                return True
            if time.monotonic() - requested > FORGET:
                self._forget(key)
        return False

    def wait(self) -> None:
        """Wait until there may be work."""
        with self._new:
            self._new.wait(POLL if self._requests else None)

    def _forget(self, key: tuple[str, int]) -> None:
        with self._new:
            self._requests.pop(key, None)


def serve() -> None:
    """Serve the requests on standard input until it closes, which it does when the parent ends."""
    os.nice(NICENESS)

    def send(message: dict[str, Any]) -> None:
        print(json.dumps(message), flush=True)

    service = Service(send)

    def listen() -> None:
        _each_line(sys.stdin, service.request)
        os._exit(0)  # maps are written whole, so nothing is lost

    threading.Thread(target=listen, daemon=True).start()
    for dims in DIMS:  # compile what every map needs
        points = np.random.default_rng(0).normal(size=(64, 8))
        projection.umap(points, dims, projection.umap(points, dims))
    send({"state": "ready"})
    while True:
        if not service.step():
            service.wait()


if __name__ == "__main__":
    serve()
