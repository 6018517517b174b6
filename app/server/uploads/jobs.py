"""Uploads on their way: each unpacked by a process of its own, in turns."""

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
TURN = 1.0  # seconds of work after which others who have worked less come first
MOST_SAID = 4 * MB  # of a process's words
NO_MEMORY = ("MemoryError", "Cannot allocate memory", "can't start new thread")
NEEDED = ("LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "LANG", "LC_ALL", "TMPDIR")
turns = Turns()


def run(own: Path, name: str, job: Job) -> dict[str, Any]:
    """What `sandbox.unpack` returns, from a process under limits. Raises UploadError.

    own holds the upload as INCOMING; its parent keeps it meanwhile, to start over.
    """
    kept = (own / INCOMING).rename(own.parent / INCOMING)
    with turns.place(job):
        while True:
            limits = Limits.from_environment()  # now: others have taken memory meanwhile
            _renew(own, kept)
            process = _Process(own, name, limits)
            turns.begin(job, process)
            if (taken := _watch(process, job, limits)) is not None:
                return taken
            job.what, job.done, job.total = "Starting over, because others waited", 0, 0


def _renew(own: Path, kept: Path) -> None:
    """Leave nothing in own but the upload."""
    shutil.rmtree(own)
    own.mkdir()
    try:
        os.link(kept, own / INCOMING)
    except OSError:  # a file system without hard links
        shutil.copyfile(kept, own / INCOMING)


def _watch(process: "_Process", job: Job, limits: Limits) -> dict[str, Any] | None:
    """What the process took; None where it was ended in favor of others."""
    used, turn = 0.0, 0.0  # seconds of work of this process, and since others came first
    while True:
        start = time.monotonic()
        heard = process.hear(TICK)
        passed = time.monotonic() - start
        used, turn, job.spent = used + passed, turn + passed, job.spent + passed
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
        if turn > TURN and turns.others_wait(job):
            process.signal(signal.SIGSTOP)
            turns.yield_to_others(job)
            if turns.process(job) is None:
                return None
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
            "own": str(own),
            "name": name,
            "limits": asdict(limits),
            "smallest": SMALLEST_SIDE,
        }
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
        # no secret of the server's environment, and no path to other programs
        kept = {name: os.environ[name] for name in NEEDED if name in os.environ}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [*COMMAND, json.dumps(wish)],
            cwd=ROOT,
            env=kept | threads | {"PYTHONUTF8": "1", "PATH": ""},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        assert self._process.stdout is not None  # a pipe, as requested
        self._output = self._process.stdout
        os.set_blocking(self._output.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._output, selectors.EVENT_READ)
        self._rest, self._said = b"", 0

    def hear(self, seconds: float) -> list[dict] | None:
        """What it said in this time; None after its end."""
        if not self._selector.select(seconds):
            return []
        chunk = self._output.read(1 << 16)
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
        self._output.close()
        self._errors.close()
