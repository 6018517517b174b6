"""Uploads on their way: each unpacked by a process of its own, a few at once, in turns."""

import contextlib
import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from app.review.archives import MB, UploadError
from app.review.limits import Limits
from engine.problem import SMALLEST_SIDE

log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "app.review.sandbox"]
AT_ONCE = 2  # processes that work; others are stopped or not begun
TURN = 3.0  # seconds of work after which others who wait come first
MOST_WAITING = 60
TICK = 0.1
MOST_SAID = 4 * MB  # of a process's words
NO_MEMORY = ("MemoryError", "Cannot allocate memory", "can't start new thread")
NEEDED = ("LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "LANG", "LC_ALL", "TMPDIR")


class Cancelled(UploadError):
    """The visitor wants it no more."""


@dataclass
class Job:
    """How far an upload is. Written by the thread that waits for it, read by the page."""

    what: str = "Copied"
    done: int = 0
    total: int = 0
    before: int = 0  # others that come first; 0 while it works
    peak: int = 0  # bytes of memory that its process took at most
    cancelled: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        if self.cancelled.is_set():
            raise Cancelled("it was canceled")


class Turns:
    """A queue with a few places at its front, in which a long job goes back to the end."""

    def __init__(self, at_once: int = AT_ONCE, most: int = MOST_WAITING):
        self._at_once, self._most = at_once, most
        self._queue: deque[Job] = deque()  # the first at_once work
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def place(self, job: Job) -> Iterator[None]:
        """Wait for a turn; the place is given up at the end. Raises UploadError when it is full."""
        with self._changed:
            if len(self._queue) >= self._most:
                raise UploadError(
                    f"{len(self._queue)} other uploads are being unpacked; try again in a minute"
                )
            self._queue.append(job)
        try:
            self._wait(job)
            yield
        finally:
            with self._changed:
                self._queue.remove(job)
                job.before = 0
                self._changed.notify_all()

    def others_wait(self) -> bool:
        with self._changed:
            return len(self._queue) > self._at_once

    def yield_to_others(self, job: Job) -> None:
        """Go to the end of the queue and wait there."""
        with self._changed:
            self._queue.remove(job)
            self._queue.append(job)
            self._changed.notify_all()
        self._wait(job)

    def _wait(self, job: Job) -> None:
        with self._changed:
            while True:
                job.before = max(0, self._queue.index(job) + 1 - self._at_once)
                if not job.before:
                    return
                job.check()
                self._changed.wait(TICK)


turns = Turns()


def run(own: Path, name: str, job: Job) -> dict[str, Any]:
    """What `sandbox.unpack` returns, from a process under limits. Raises UploadError."""
    with turns.place(job):
        limits = Limits.from_environment()  # now: others have taken memory meanwhile
        process = _Process(own, name, limits)
        try:
            return _watch(process, job, limits)
        finally:
            process.end()


def _watch(process: "_Process", job: Job, limits: Limits) -> dict[str, Any]:
    used, turn = 0.0, 0.0  # seconds of work in all, and since others came first
    while True:
        start = time.monotonic()
        heard = process.hear(TICK)
        used, turn = used + time.monotonic() - start, turn + time.monotonic() - start
        job.check()
        if heard is None:
            return _ended(process, limits)
        for words in heard:
            if "done" in words:
                job.what, job.done, job.total = words["done"]
            elif "peak" in words:
                job.peak = words["peak"]
            elif "refused" in words:
                raise UploadError(words["refused"])
            elif "taken" in words:
                return words["taken"]
        if used > limits.seconds:
            raise UploadError(_too_long(limits))
        if turn > TURN and turns.others_wait():
            process.signal(signal.SIGSTOP)
            turns.yield_to_others(job)
            process.signal(signal.SIGCONT)
            turn = 0.0


def _ended(process: "_Process", limits: Limits) -> dict[str, Any]:
    """Say why a process ended without a word."""
    code, words = process.last_words()
    if code == -signal.SIGXCPU:
        raise UploadError(_too_long(limits))
    if code == -signal.SIGKILL or any(sign in words for sign in NO_MEMORY):
        raise UploadError(f"it takes more memory than the {limits.memory // MB:,} MB allowed")
    if "OSError" in words and ("No space" in words or "quota" in words):
        raise UploadError("the server's disk is too full for it; ask whoever runs the server")
    log.error("unpacking an upload ended with %s: %s", code, words)
    raise UploadError("it cannot be unpacked; whoever runs the server finds the reason in its log")


def _too_long(limits: Limits) -> str:
    return (
        f"unpacking and decoding it takes longer than the {limits.seconds:g} seconds allowed; "
        "bring fewer or smaller images"
    )


class _Process:
    """The process of one upload, and what it says."""

    def __init__(self, own: Path, name: str, limits: Limits):
        wish = {
            "own": str(own), "name": name, "limits": asdict(limits), "smallest": SMALLEST_SIDE,
        }  # fmt: skip
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
        # no secret of the server's environment, and no path to other programs
        kept = {name: os.environ[name] for name in NEEDED if name in os.environ}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [*COMMAND, json.dumps(wish)], cwd=ROOT,
            env=kept | threads | {"PYTHONUTF8": "1", "PATH": ""},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip
        os.set_blocking(self._process.stdout.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        self._rest, self._said = b"", 0

    def hear(self, seconds: float) -> list[dict] | None:
        """What it said in this time; None after its end."""
        if not self._selector.select(seconds):
            return []
        chunk = self._process.stdout.read(1 << 16)
        if not chunk:
            return None
        self._said += len(chunk)
        if self._said > MOST_SAID:
            raise UploadError("it cannot be unpacked: it gives rise to endless messages")
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines if line.startswith(b"{")]

    def signal(self, number: int) -> None:
        with contextlib.suppress(OSError):  # it ended just now
            self._process.send_signal(number)

    def last_words(self) -> tuple[int, str]:
        code = self._process.wait()
        self._errors.seek(0)
        return code, self._errors.read(MB)[-2000:].decode(errors="replace")

    def end(self) -> None:
        self._process.kill()  # also a stopped one
        self._process.wait()
        self._selector.close()
        self._process.stdout.close()
        self._errors.close()
