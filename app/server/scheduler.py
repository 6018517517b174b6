"""Which runs train now: slots, turns among owners, parking of paused runs, stop of unwatched ones.

It knows neither folders nor permissions. Its owner calls every method under one lock.
"""

from collections.abc import Callable
from typing import Any

from app.server.limits import Limits
from app.server.pacing import turns
from app.server.run_info import LIVE_STATES, RunInfo
from app.server.run_jobs import Job, in_turn, park

NICENESS = 5  # of training threads, so that pages answer first
MOST_ENDED = 100  # ended runs that are kept in memory


class Scheduler:
    """The runs of this process.

    limits: how many train at once. reap_after: seconds after which a run that no page shows is
    stopped unless it is pinned. clock: a monotonic clock in seconds.
    """

    def __init__(self, limits: Limits, reap_after: float, clock: Callable[[], float]):
        self.limits, self.reap_after = limits, reap_after
        self.jobs: dict[str, Job] = {}  # in order of arrival
        self._clock = clock
        self._served: dict[str, int] = {}  # owner -> number of its latest start

    def add(self, job: Job) -> Job | None:
        """Append a job to the queue; returns the ended job of the same name that it replaces."""
        replaced = self.jobs.pop(job.name, None)
        self.jobs[job.name] = job
        return replaced

    def live(self) -> list[Job]:
        """Jobs that are queued, running or paused."""
        return [job for job in self.jobs.values() if job.live]

    def requests(self) -> list[dict[str, Any]]:
        """Requests that a restart must queue again: of jobs without a run folder."""
        return [dict(job.request) for job in self.jobs.values() if job.unsaved]

    def waiting(self) -> list[Job]:
        """Jobs that wait for a slot, next one first."""
        return in_turn(self.jobs.values(), self._served)

    def active(self) -> list[RunInfo]:
        """Runs with a slot, then those paused without one, then those that wait."""
        live, waiting = self.live(), self.waiting()
        begun = sorted((job for job in live if job not in waiting), key=lambda job: job.parked)
        return [self.info(job, waiting) for job in (*begun, *waiting)]

    def info(self, job: Job, waiting: list[Job] | None = None) -> RunInfo:
        """State and progress of a job. waiting: the result of `waiting`, if known."""
        status, state = job.runner.status, job.state
        waiting = self.waiting() if waiting is None else waiting
        return RunInfo(
            job.name,
            state,
            status.epoch,
            status.n_epochs,
            position=waiting.index(job) + 1 if job in waiting else 0,
            stage=status.stage,
            batch=status.batch,
            n_batches=status.n_batches,
            seconds_left=status.seconds_left,
            message=job.message,
            owner=job.owner,
            pinned=job.pinned,
            unwatched=self._clock() - job.watched if state in LIVE_STATES else 0.0,
        )

    def advance(self) -> None:
        """Stop unwatched runs, park long pauses, start the next runs in free slots."""
        self._reap()
        park(self.jobs.values(), self.limits.slots, self._clock())
        self._start_next()
        ended = [job for job in self.jobs.values() if not job.live]
        for job in ended[:-MOST_ENDED]:
            del self.jobs[job.name]

    def mark_watched(self, name: str) -> None:
        """Note that a page shows this run now."""
        if name in self.jobs:
            self.jobs[name].watched = self._clock()

    def _start_next(self) -> None:
        used = {job.slot for job in self.jobs.values() if job.has_slot}
        preparing = {job.slot for job in self.jobs.values() if job.started and job.unsaved}
        for job in self.waiting():
            if job.slot in preparing:
                continue  # runs that share a slot are prepared one after the other
            if job.slot not in used and len(used) >= self.limits.slots:
                continue
            preparing.add(job.slot)
            used.add(job.slot)
            self._served[job.owner] = max(self._served.values(), default=0) + 1
            job.watched = max(job.watched, self._clock())
            if job.parked:
                job.unpark()
            else:
                job.started = True
                job.runner.start(NICENESS, turns.courtesy)

    def _reap(self) -> None:
        now = self._clock()
        for job in self.jobs.values():
            if job.state not in ("running", "paused") or job.pinned or job.note:
                continue
            if now - job.watched > self.reap_after:
                job.note = (
                    f"stopped because it was not watched for {self.reap_after / 60:g} minutes: "
                    "resume it, and pin it to let it train unwatched"
                )
                job.runner.stop()
