"""Which uploads are unpacked next: a few at once, those with the least work so far first."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from app.server.uploads.safe_zip import UploadError

AT_ONCE = 2  # processes that work; the others are stopped or not started
STARTED = 4  # processes that exist, including stopped ones: each keeps its memory
MOST_WAITING = 60  # uploads of all visitors in line
OF_ONE_VISITOR = 2  # uploads of one visitor in line
ABANDONED_AFTER = 90.0  # seconds without its page; a hidden tab may poll only once a minute
TICK = 0.1  # seconds between two checks of an upload that waits


class Cancelled(UploadError):
    """The visitor canceled the upload or left its page."""


class Process(Protocol):
    """A process of an upload."""

    def end(self) -> None:
        """Kill the process; does nothing if it has ended."""


@dataclass(eq=False)
class Job:
    """Progress of an upload. Written by the thread that waits for it, read by the page."""

    visitor: str = ""  # id of its visitor, for the limit; "": not counted
    what: str = "Copied"
    done: int = 0
    total: int = 0
    before: int = 0  # number of uploads ahead of it; 0 while it works
    peak: int = 0  # peak memory of its process in bytes
    spent: float = 0.0  # seconds of work of its processes, including ended ones
    cancelled: threading.Event = field(default_factory=threading.Event)
    polled: float | None = None  # when its page last polled it; None: no page has to

    def touch(self) -> None:
        """Note a poll of its page, which has to poll again within ABANDONED_AFTER."""
        self.polled = time.monotonic()

    def check(self) -> None:
        """Raise Cancelled if it was canceled or its page stopped polling."""
        if self.cancelled.is_set():
            raise Cancelled("it was canceled")
        if self.polled is not None and time.monotonic() > self.polled + ABANDONED_AFTER:
            raise Cancelled(
                "it was canceled because its page was closed or left for "
                f"{ABANDONED_AFTER:g} seconds"
            )


class Turns:
    """A few jobs work at a time, those with the least work so far first.

    At most `started` processes exist. If all are in use, a waiting job ends the stopped process
    that has worked longest, provided that it worked more than twice as long as the job's own; it
    starts over later. So new jobs never wait for long ones, and a long job that was ended works
    about twice as long before it can be ended again, until it is done.
    """

    def __init__(self, at_once: int = AT_ONCE, most: int = MOST_WAITING, *, started: int = STARTED):
        self._at_once, self._most, self._most_started = at_once, most, started
        self._jobs: list[Job] = []
        self._working: set[Job] = set()
        self._started: dict[Job, Process | None] = {}  # None until it begins
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def place(self, job: Job) -> Iterator[None]:
        """Wait in line for a turn; leaving the context ends the process.

        Raises UploadError if the line is full or contains OF_ONE_VISITOR jobs of this visitor.
        """
        with self._changed:
            self._admit(job)
            self._jobs.append(job)
        try:
            self._wait(job)
            yield
        finally:
            with self._changed:
                self._end_process(job)
                self._jobs.remove(job)
                self._working.discard(job)
                job.before = 0
                self._changed.notify_all()

    def process(self, job: Job) -> Process | None:
        """The process of a job that has a turn; None if it has to be started."""
        with self._changed:
            return self._started[job]

    def begin(self, job: Job, process: Process) -> None:
        """Register the process of a job that has a turn."""
        with self._changed:
            self._started[job] = process

    def others_wait(self, job: Job) -> bool:
        """Whether a job with less work than this working one could work instead."""
        with self._changed:
            stopped = self._stopped() | {job}
            return any(
                other.spent < job.spent and self._can_start(other, stopped)
                for other in self._waiting()
            )

    def yield_to_others(self, job: Job) -> None:
        """Wait for the next turn; meanwhile the process, already stopped, may be ended."""
        with self._changed:
            self._working.discard(job)
            self._changed.notify_all()
        self._wait(job)

    def _admit(self, job: Job) -> None:
        if job.visitor and sum(o.visitor == job.visitor for o in self._jobs) >= OF_ONE_VISITOR:
            raise UploadError(
                f"{OF_ONE_VISITOR} other uploads of yours are being unpacked, the most allowed; "
                "cancel one, or try again in a minute"
            )
        if len(self._jobs) >= self._most:
            raise UploadError(
                f"{len(self._jobs)} other uploads are being unpacked; try again in a minute"
            )

    def _wait(self, job: Job) -> None:
        with self._changed:
            while not self._take(job):
                job.check()
                job.before = self._waiting().index(job) + 1
                self._changed.wait(TICK)
            job.before = 0

    def _take(self, job: Job) -> bool:
        """Let the job work if it is the next one that can; returns whether it works."""
        stopped = self._stopped()
        able = (other for other in self._waiting() if self._can_start(other, stopped))
        if len(self._working) >= self._at_once or next(able, None) is not job:
            return False
        if job not in self._started:
            if len(self._started) >= self._most_started:
                self._end_process(max(stopped, key=lambda other: other.spent))
            self._started[job] = None
        self._working.add(job)
        self._changed.notify_all()
        return True

    def _can_start(self, job: Job, stopped: set[Job]) -> bool:
        if job in self._started or len(self._started) < self._most_started:
            return True
        return any(other.spent > 2 * job.spent for other in stopped)

    def _waiting(self) -> list[Job]:
        return sorted(
            (job for job in self._jobs if job not in self._working), key=lambda job: job.spent
        )

    def _stopped(self) -> set[Job]:
        return self._started.keys() - self._working

    def _end_process(self, job: Job) -> None:
        process = self._started.pop(job, None)
        if process is not None:
            process.end()
