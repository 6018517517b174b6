"""The jobs of the queue: a run of this process, and the order in which waiting ones get a slot."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.server.run_info import LIVE_STATES

if TYPE_CHECKING:
    from engine.runs.runner import Runner

PARK_AFTER = 60.0  # seconds after which a paused run gives its place to one that waits
TRAINS_AGAIN = 20.0  # seconds of training that end a pause; less is a trick to keep the place
MOST_PARKED = 4  # runs that stay paused in memory without a place


@dataclass
class Job:
    """A run of this process; `request` is all that a restart needs to queue it again."""

    request: dict[str, Any]
    runner: "Runner"
    watched: float
    started: bool = False
    note: str = ""  # why it was stopped by the server
    given_back: bool = False  # its reserved folder, after it failed before its first file
    paused_at: float | None = None  # since when it is paused, short whiles of training aside
    training_at: float | None = None  # since when it trains without a pause
    parked: bool = False  # it stays paused, and another run has its place
    back: str = ""  # go_on | step: what it does when it has a place again

    @property
    def name(self) -> str:
        return self.request["name"]

    @property
    def owner(self) -> str:
        return self.request["visitor"]

    @property
    def pinned(self) -> bool:
        return self.request["pinned"]

    @property
    def state(self) -> str:
        if not self.started:
            return "queued"
        state = self.runner.status.state
        if state == "paused" and self.back:
            return "queued"
        return "running" if state == "queued" else state  # its thread has just been made

    @property
    def live(self) -> bool:
        return self.state in LIVE_STATES

    @property
    def to_begin(self) -> bool:
        """Whether it waits, or began and has no folder yet."""
        return not self.started or self.live and not self.runner.ready

    @property
    def holds_place(self) -> bool:
        return self.started and not self.parked and self.live

    @property
    def message(self) -> str:
        status = self.runner.status
        if status.state == "failed" and not status.foreseen:
            return f"unexpected failure: {status.message}"
        return self.note or status.message

    def go(self, how: str) -> None:
        """Go on after a pause (how: go_on or step); a parked run first waits for a place."""
        if self.parked:
            self.back = how
        else:
            getattr(self.runner, how)()

    def note_pause(self, paused: bool, now: float) -> None:
        """Keep since when it is paused; only training for a while ends that, not a moment of it."""
        if paused:
            self.training_at = None
            self.paused_at = now if self.paused_at is None else self.paused_at
        else:
            self.training_at = now if self.training_at is None else self.training_at
            if now - self.training_at >= TRAINS_AGAIN:
                self.paused_at = None

    def unpark(self) -> None:
        """It has a place again."""
        self.parked, self.paused_at, how, self.back = False, None, self.back, ""
        getattr(self.runner, how)()


def in_turn(jobs: Iterable[Job], served: Mapping[str, int]) -> list[Job]:
    """Jobs that wait, in the order in which they get a place: the owners take turns.

    First who has the fewest runs before, then who was served the longest ago, then who came first.
    served: owner -> a number that grows from one start of a run to the next.
    """
    jobs = list(jobs)
    before = Counter(job.owner for job in jobs if job.holds_place)
    keyed = []
    for number, job in enumerate(job for job in jobs if job.state == "queued"):
        keyed.append((before[job.owner], served.get(job.owner, 0), number, job))
        before[job.owner] += 1
    return [job for *_, job in sorted(keyed, key=lambda key: key[:3])]


def park(jobs: Iterable[Job], slots: int, now: float) -> None:
    """Let runs that have been paused for PARK_AFTER seconds give their places to those that wait.

    They keep their memory and continue where they are; of more than MOST_PARKED the one that was
    paused first is stopped, and can be resumed. now: seconds of the clock of `paused_at`.
    """
    jobs = list(jobs)
    for job in jobs:
        job.note_pause(job.started and job.runner.status.state == "paused", now)
    wanted = sum(job.state == "queued" for job in jobs)
    wanted -= slots - sum(job.holds_place for job in jobs)
    long = [
        job
        for job in jobs
        if job.holds_place
        and job.training_at is None
        and job.paused_at is not None
        and now - job.paused_at >= PARK_AFTER
    ]
    for job in sorted(long, key=_paused_at)[: max(wanted, 0)]:
        job.parked = True
    parked = sorted((j for j in jobs if j.parked and j.live and not j.note), key=_paused_at)
    for job in parked[: max(len(parked) - MOST_PARKED, 0)]:
        job.note = "stopped because it was paused while others waited: resume it to go on"
        job.runner.stop()


def _paused_at(job: Job) -> float:
    return job.paused_at or 0.0
