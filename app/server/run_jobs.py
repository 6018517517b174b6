"""A job is a run of this process: its state, and the order in which waiting jobs get a slot."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.server.run_info import LIVE_STATES

if TYPE_CHECKING:
    from engine.runs.runner import Runner

PARK_AFTER = 60.0  # seconds after which a paused run gives its slot to one that waits
TRAINS_AGAIN = 20.0  # seconds of training that end a pause; fewer would be a trick to keep a slot
MOST_PARKED = 4  # runs that stay paused in memory without a slot


@dataclass(eq=False)
class Job:
    """A run of this process; `request` is all that a restart needs to queue it again."""

    request: dict[str, Any]
    runner: "Runner"
    watched: float
    started: bool = False
    note: str = ""  # why it was stopped by the server
    folder_released: bool = False  # whether its reserved folder was removed after it failed early
    paused_at: float | None = None  # since when it is paused, ignoring short spells of training
    training_at: float | None = None  # since when it has trained without a pause
    parked: bool = False  # it stays paused, and another run has its slot
    resume_by: str = ""  # go_on | step: what it does once it has a slot again

    @property
    def name(self) -> str:
        """The run's name."""
        return self.request["name"]

    @property
    def owner(self) -> str:
        """Id of the visitor who owns the run."""
        return self.request["visitor"]

    @property
    def group(self) -> str:
        """What it was requested with; "" if alone. Limits count a group as one run."""
        return self.request.get("group", "")

    @property
    def pinned(self) -> bool:
        """Whether the run trains unwatched."""
        return self.request["pinned"]

    @property
    def state(self) -> str:
        """The state of the run, see `RunInfo`."""
        if not self.started:
            return "queued"
        state = self.runner.status.state
        if state == "paused" and self.resume_by:
            return "queued"
        return "running" if state == "queued" else state  # its thread has just started

    @property
    def live(self) -> bool:
        """Whether the run is queued, running or paused."""
        return self.state in LIVE_STATES

    @property
    def unsaved(self) -> bool:
        """Whether it waits, or has started but has no folder yet."""
        return not self.started or self.live and not self.runner.ready

    @property
    def slot(self) -> str:
        """What its slot is called: runs that train beside each other have one together."""
        return str(self.request.get("beside") or self.name)

    @property
    def has_slot(self) -> bool:
        """Whether the run occupies a slot."""
        return self.started and not self.parked and self.live

    @property
    def message(self) -> str:
        """Why the run ended, or what change was refused, in one sentence."""
        status = self.runner.status
        if status.state == "failed" and not status.foreseen:
            return f"unexpected failure: {status.message}"
        return self.note or status.message

    def go(self, how: str) -> None:
        """Continue after a pause (how: go_on or step); a parked run first waits for a slot."""
        if self.parked:
            self.resume_by = how
        else:
            getattr(self.runner, how)()

    def note_pause(self, paused: bool, now: float) -> None:
        """Update since when it is paused; only TRAINS_AGAIN seconds of training end a pause."""
        if paused:
            self.training_at = None
            self.paused_at = now if self.paused_at is None else self.paused_at
        else:
            self.training_at = now if self.training_at is None else self.training_at
            if now - self.training_at >= TRAINS_AGAIN:
                self.paused_at = None

    def unpark(self) -> None:
        """Give it a slot again, and continue as requested."""
        self.parked, self.paused_at, how, self.resume_by = False, None, self.resume_by, ""
        getattr(self.runner, how)()


def in_turn(jobs: Iterable[Job], served: Mapping[str, int]) -> list[Job]:
    """Jobs that wait, in the order in which they get a slot: owners take turns.

    Owners with the fewest runs come first, then those served longest ago, then by arrival.
    served: owner -> a number that grows with every run that starts.
    """
    jobs = list(jobs)
    before = Counter(job.owner for job in jobs if job.has_slot)
    keyed = []
    for number, job in enumerate(job for job in jobs if job.state == "queued"):
        keyed.append((before[job.owner], served.get(job.owner, 0), number, job))
        before[job.owner] += 1
    return [job for *_, job in sorted(keyed, key=lambda key: key[:3])]


def park(jobs: Iterable[Job], slots: int, now: float) -> None:
    """Let runs that have been paused for PARK_AFTER seconds give their slots to those that wait.

    They stay in memory; beyond MOST_PARKED of them, the one paused first is stopped and can be
    resumed. now: seconds of the clock of `paused_at`.
    """
    jobs = list(jobs)
    for job in jobs:
        job.note_pause(job.started and job.runner.status.state == "paused", now)
    wanted = len({job.slot for job in jobs if job.state == "queued"})
    wanted -= slots - len({job.slot for job in jobs if job.has_slot})
    long = [
        job
        for job in jobs
        if job.has_slot
        and job.training_at is None
        and job.paused_at is not None
        and now - job.paused_at >= PARK_AFTER
    ]
    for job in sorted(long, key=_paused_at)[: max(wanted, 0)]:
        job.parked = True
    parked = sorted((j for j in jobs if j.parked and j.live and not j.note), key=_paused_at)
    for job in parked[: max(len(parked) - MOST_PARKED, 0)]:
        job.note = "stopped because it was paused while others waited: resume it to continue"
        job.runner.stop()


def _paused_at(job: Job) -> float:
    return job.paused_at or 0.0
