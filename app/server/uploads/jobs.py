"""Unpacking of uploads: each in a separate process, in turns."""

import contextlib
import json
import logging
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.server.uploads.limits import Limits
from app.server.uploads.paths import INCOMING
from app.server.uploads.safe_zip import MB, UploadError
from app.server.uploads.turns import TICK, Job, Turns
from engine.config import SMALLEST_SIDE

log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, "-m", "app.server.uploads.sandbox"]
TURN = 1.0  # seconds of work after which jobs with less work come first
MOST_OUTPUT = 4 * MB  # of a process
NO_MEMORY = ("MemoryError", "Cannot allocate memory", "can't start new thread")
NEEDED = ("LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "LANG", "LC_ALL", "TMPDIR")
turns = Turns()


def run(own: Path, name: str, job: Job) -> dict[str, Any]:
    """The result of `sandbox.unpack`, from a process under limits. Raises UploadError.

    own: a folder with the upload as INCOMING; its parent keeps a copy, to start over. name: of the
    upload, for messages.
    """
    kept = (own / INCOMING).rename(own.parent / INCOMING)
    with turns.place(job):
        while True:
            limits = Limits.from_environment()  # now: the free memory changes
            _renew(own, kept)
            process = _Process(own, name, limits)
            turns.begin(job, process)
            if (result := _watch(process, job, limits)) is not None:
                return result
            job.what, job.done, job.total = "Starting over because others waited", 0, 0


def _renew(own: Path, kept: Path) -> None:
    """Empty the folder own, except for the upload."""
    shutil.rmtree(own)
    own.mkdir()
    try:
        os.link(kept, own / INCOMING)
    except OSError:  # a file system without hard links
        shutil.copyfile(kept, own / INCOMING)


def _watch(process: "_Process", job: Job, limits: Limits) -> dict[str, Any] | None:
    """The result of the process; None if it was ended in favor of others."""
    used, turn = 0.0, 0.0  # seconds of work of this process in all, and in this turn
    while True:
        start = time.monotonic()
        messages = process.read_messages(TICK)
        passed = time.monotonic() - start
        used, turn, job.spent = used + passed, turn + passed, job.spent + passed
        job.check()
        if messages is None:
            return _ended(process, limits)
        for message in messages:
            if "done" in message:
                job.what, job.done, job.total = message["done"]
            elif "peak" in message:
                job.peak = message["peak"]
            elif "refused" in message:
                raise UploadError(message["refused"])
            elif "taken" in message:
                return message["taken"]
        if used > limits.seconds:
            raise UploadError(_too_long(limits))
        if turn > TURN and turns.others_wait(job):
            process.signal(signal.SIGSTOP)
            turns.yield_to_others(job)
            if turns.process(job) is None:
                return None
            process.signal(signal.SIGCONT)
            turn = 0.0


def _ended(process: "_Process", limits: Limits) -> dict[str, Any]:
    """Raise UploadError with the reason why a process ended without a result."""
    code, errors = process.wait()
    if code == -signal.SIGXCPU:
        raise UploadError(_too_long(limits))
    if code == -signal.SIGKILL or any(text in errors for text in NO_MEMORY):
        raise UploadError(f"it takes more memory than the {limits.memory // MB:,} MB allowed")
    if "OSError" in errors and ("No space" in errors or "quota" in errors):
        raise UploadError("the server's disk is full; contact its administrator")
    log.error("unpacking an upload ended with %s: %s", code, errors)
    raise UploadError("it cannot be unpacked; the reason is in the server's log")


def _too_long(limits: Limits) -> str:
    return (
        f"unpacking and decoding it takes longer than the {limits.seconds:g} seconds allowed; "
        "upload fewer or smaller images"
    )


def environment() -> dict[str, str]:
    """The variables of a process with limits: none that is secret, no path to other programs.

    One thread, and no reserve of address space, which is limited.
    """
    kept = {name: os.environ[name] for name in NEEDED if name in os.environ}
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    memory = {"ARROW_DEFAULT_MEMORY_POOL": "system"}
    return kept | threads | memory | {"PYTHONUTF8": "1", "PATH": ""}


class _Process:
    """The process of one upload and its output."""

    def __init__(self, own: Path, name: str, limits: Limits):
        request = {
            "own": str(own),
            "name": name,
            "limits": asdict(limits),
            "smallest": SMALLEST_SIDE,
        }
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [*COMMAND, json.dumps(request)],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        assert self._process.stdout is not None  # a pipe, as requested
        self._output = self._process.stdout
        os.set_blocking(self._output.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._output, selectors.EVENT_READ)
        self._rest, self._n_read = b"", 0

    def read_messages(self, seconds: float) -> list[dict] | None:
        """The messages of the next seconds; None after its end."""
        if not self._selector.select(seconds):
            return []
        chunk = self._output.read(1 << 16)
        if not chunk:
            return None
        self._n_read += len(chunk)
        if self._n_read > MOST_OUTPUT:
            raise UploadError("it cannot be unpacked: it causes endless messages")
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines if line.startswith(b"{")]

    def signal(self, number: int) -> None:
        """Send a signal."""
        with contextlib.suppress(OSError):  # it ended just now
            self._process.send_signal(number)

    def wait(self) -> tuple[int, str]:
        """Wait for its end; returns the exit code and the end of its error output."""
        code = self._process.wait()
        self._errors.seek(0)
        return code, self._errors.read(MB)[-2000:].decode(errors="replace")

    def end(self) -> None:
        """Kill the process."""
        self._process.kill()  # also a stopped one
        self._process.wait()
        self._selector.close()
        self._output.close()
        self._errors.close()
