"""The runs of this server: queued, training, ended. There is one manager per process."""

import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from app.server import housekeeping, run_settings, runners, shared_runs, visible_runs
from app.server.limits import Limits
from app.server.problems import Problem
from app.server.queue_thread import QueueThread
from app.server.run_info import LIVE_STATES, RunInfo, RunsError
from app.server.run_jobs import Job
from app.server.run_queue import RunQueue
from app.server.run_reader import RunReader
from app.server.run_settings import GB
from app.server.shutdown import at_shutdown
from app.server.storage import storage_of
from app.server.visible_runs import runs
from app.server.visitors import EVERYONE, Visitor, has_teacher
from engine.config import RunConfig
from engine.runs.annotation import write_annotation
from engine.runs.folder import open_run
from engine.runs.forks import fork_config, repeats_parent

PATIENCE = 6.0  # seconds that runs have to finish their batch when the server shuts down
DAY = 86400.0  # seconds
MOST_TOGETHER = 40  # runs of one request
MOST_OF_TEACHER = 250  # the same of the teacher, or of anybody where there is none: an experiment
__all__ = ["EVERYONE", "GB", "LIVE_STATES", "RunInfo", "RunManager", "RunsError", "Visitor", "runs"]


class RunManager(RunReader):
    """The runs of one root: their state, and what visitors may do with them.

    slots, per_visitor, per_address, most_queued: see `Limits`. reap_after: see `Scheduler`.
    keep_days, keep_bytes: how long and how much of visitors' ended runs is kept, see
    `housekeeping`. clock: a monotonic clock in seconds. Every method may be called from any thread.

    Of several servers over one root only one trains, the one that holds the lease; on the others
    every method that changes something raises RunsError.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        slots: int = 1,
        per_visitor: int = 3,
        per_address: int = 90,
        most_queued: int = 200,
        reap_after: float = 1800.0,
        keep_days: float = 30.0,
        keep_bytes: float = 20 * GB,
        clock: Callable[[], float] = time.monotonic,
    ):
        root = Path(root)
        root.mkdir(parents=True, exist_ok=True)
        limits = Limits(slots, per_visitor, per_address, most_queued)
        queue = RunQueue(storage_of(root), limits, reap_after, clock, runners.make_runner)
        super().__init__(queue, limits)
        self.keep_days, self.keep_bytes = keep_days, keep_bytes
        self.thread = QueueThread(self._queue, self.lease, limits, self.clean_up, clock)
        self.thread.start()

    @classmethod
    def from_environment(cls) -> "RunManager":
        """A manager with the settings of `run_settings.from_environment`."""
        return cls(**run_settings.from_environment())

    @property
    def refusal(self) -> str:
        """Why this server only shows runs, if it does."""
        return self.thread.refusal

    @property
    def problems(self) -> list[Problem]:
        """Problems of the queue, oldest first."""
        return list(self.thread.problems)

    # --- new runs

    def submit(
        self,
        config: RunConfig,
        *,
        visitor: Visitor,
        pinned: bool = False,
        beside: str | None = None,
    ) -> str:
        """Queue a new run; returns its name. Raises RunsError at the visitor's limit.

        beside: a run of the same visitor with which it shares a slot: both train at once.
        """
        with self._queue.lock:
            if beside is not None:
                self._check_owner(beside, visitor)
            settings = config.model_dump(mode="json")
            return self._add("new", visitor, pinned, config=settings, beside=beside)

    def fork(
        self, parent: str, epoch: int, *, visitor: Visitor, pinned: bool = False, **settings: Any
    ) -> str:
        """Queue a fork of a run after an epoch, with other settings; returns its name.

        Raises RunsError, ConfigError, or StoreError if that epoch has no saved network. A fork that
        would only repeat its parent is refused.
        """
        run = open_run(self.folder(parent))
        if repeats_parent(run, epoch, fork_config(run, epoch, **settings)):
            raise RunsError(
                f"a fork of {parent} after epoch {epoch} with the same settings would train what "
                f"{parent} trained: change K, alpha or another setting first"
            )
        return self._add("fork", visitor, pinned, parent=parent, epoch=epoch, knobs=settings)

    def submit_together(self, configs: Sequence[RunConfig], *, visitor: Visitor) -> list[str]:
        """Queue several runs as one request, which limits count as one; returns their names.

        All are queued, or none. Raises RunsError at the visitor's limit, and for more runs than
        MOST_TOGETHER or MOST_OF_TEACHER.
        """
        most = MOST_OF_TEACHER if visitor.teacher or not has_teacher() else MOST_TOGETHER
        if not 1 <= len(configs) <= most:
            raise RunsError(f"{len(configs)} runs at once: allowed are 1 to {most}")
        group, names = secrets.token_hex(4), list[str]()
        with self._queue.lock:
            self._check_alone()
            if not visitor.teacher:
                self.limits.check(self._queue.live(), visitor)
            try:
                with self.storage.transaction():  # one write to the disk for all
                    for config in configs:
                        request = {"config": config.model_dump(mode="json"), "group": group}
                        names.append(self._put("new", visitor, False, save=False, **request))
                    self._queue.save()
            except BaseException:
                self._queue.drop(*names)
                raise
        return names

    def resume(self, name: str, visitor: Visitor) -> None:
        """Queue a run that ended early, to continue after its last epoch.

        Raises RunsError or StoreError.
        """
        with self._queue.lock:
            self._check_alone()
            job = self._queue.jobs.get(name)
            if job is not None and job.live:
                raise RunsError(f"{name} is {job.state} already")
            self._check_owner(name, visitor)
            self._add("resume", visitor, False, name=name)

    def share(self, config: RunConfig) -> str:
        """The name of the run of these settings that all visitors share; queued if missing.

        Thirty visitors who start it at once get one run, which only a teacher may control. A run
        that ended early is resumed. Raises RunsError if too many shared runs wait.
        """
        with self._queue.lock:
            self._check_alone()
            run = self.shared(config)
            if run is not None and (run.active or run.state == "done"):
                return run.name
            shared_runs.check_room(self._queue)
            if run is not None and run.state in ("stopped", "interrupted"):
                self.resume(run.name, EVERYONE)
                return run.name
            name = self.submit(config, visitor=EVERYONE)
            self.storage.put("shared", shared_runs.key_of(config), name)
            return name

    def shared(self, config: RunConfig) -> RunInfo | None:
        """The run that `share` would return; None if it does not exist."""
        with self._queue.lock:
            return shared_runs.find(self, config)

    # --- control

    def pause(self, name: str, visitor: Visitor) -> None:
        """Pause a run after the current batch. Raises RunsError."""
        self._own(name, visitor).runner.pause()

    def go_on(self, name: str, visitor: Visitor) -> None:
        """Continue after a pause; a run without a slot waits for one first. Raises RunsError."""
        with self._queue.lock:
            self._own(name, visitor).go("go_on")

    def step(self, name: str, visitor: Visitor) -> None:
        """Train one epoch, then pause. Raises RunsError."""
        with self._queue.lock:
            self._own(name, visitor).go("step")

    def change(self, name: str, visitor: Visitor, **live: Any) -> None:
        """Change live settings from the next epoch on. Raises RunsError or ConfigError."""
        self._own(name, visitor).runner.change(**live)

    def stop(self, name: str, visitor: Visitor) -> None:
        """Stop a run after its last whole epoch, or remove it from the queue. Raises RunsError."""
        with self._queue.lock:
            job = self._own(name, visitor)
            if job.started:
                job.runner.stop()
            else:
                self._queue.withdraw(name)

    def pin(self, name: str, visitor: Visitor, on: bool) -> None:
        """Let a run train unwatched, and keep it when old runs are cleaned up. Raises RunsError."""
        with self._queue.lock:
            self._check_owner(name, visitor)
            self._queue.pin(name, on)

    def stop_group(self, group: str, visitor: Visitor) -> None:
        """Stop the runs of one request. Raises RunsError."""
        with self._queue.lock:
            jobs = [job for job in self._queue.live() if group and job.group == group]
            for job in jobs:
                self._check_owner(job.name, visitor)
                if job.started:
                    job.runner.stop()
            self._queue.withdraw(*(job.name for job in jobs if not job.started))

    def annotate(self, name: str, visitor: Visitor, title: str, note: str) -> None:
        """Give a run a title and a note, "" for none; its folder keeps its name.

        Raises RunsError, ConfigError for a text that is too long, StoreError.
        """
        self._check_owner(name, visitor)
        write_annotation(self.folder(name), title, note)

    def may_delete(self, name: str, visitor: Visitor) -> bool:
        """Whether a visitor may delete a run: its owner, unless it has none, and the teacher."""
        return visitor.teacher or self.access.owner(name) == visitor.id

    def delete(self, name: str, visitor: Visitor) -> None:
        """Delete an ended run; for its owner and teachers.

        Raises RunsError, also if something could not be removed.
        """
        if not self.may_delete(name, visitor):
            raise RunsError(f"{name} can be deleted by its owner and the teacher only")
        with self._queue.lock:
            self._check_alone()
            if self.info(name).active:
                raise RunsError(f"{name} is active: stop it before you delete it")
            if failure := self._queue.remove(name):
                raise RunsError(
                    f"{name} was not deleted completely: {failure}; check the permissions on its "
                    "folder and delete it again"
                )

    def limit(self, visitor: Visitor, *, slots: int, per_visitor: int) -> None:
        """Change how many runs train at once and how many a visitor may have; for teachers only.

        Raises RunsError.
        """
        if not visitor.teacher:
            raise RunsError("the limits can be changed by the teacher only")
        with self._queue.lock:
            self._check_alone()
            self.limits.change(self.storage, slots=slots, per_visitor=per_visitor)

    def claim(self, upload: str, visitor: Visitor) -> None:
        """Record a visitor as an owner of an upload; it may have several."""
        self._check_alone()
        self.storage.add("uploads", upload, visitor.id)

    def share_link(self, name: str, visitor: Visitor) -> str:
        """The key with which anyone may see a private run, created if needed. Raises RunsError."""
        self._check_owner(name, visitor)
        return self.access.share_link(name)

    def revoke(self, name: str, visitor: Visitor) -> None:
        """Invalidate the share link of a run. Raises RunsError."""
        self._check_owner(name, visitor)
        self.storage.put("links", name, None)

    def clean_up(self, now: float | None = None) -> list[str]:
        """Remove old runs of visitors, see `housekeeping`; returns the names of the removed runs.

        now: seconds since 1970.
        """
        now = time.time() if now is None else now
        return housekeeping.clean_up(
            self._queue, self.storage, now, self.keep_days * DAY, self.keep_bytes
        )

    def close(self, patience: float = 30.0) -> None:
        """Stop all training and wait for it, at most `patience` seconds; the queue stays stored."""
        self.thread.close()
        self._queue.shut_down(patience, save=self.trains_here)
        self.lease.release()

    # --- inside

    def _own(self, name: str, visitor: Visitor) -> Job:
        with self._queue.lock:
            job = self._queue.jobs.get(name)
            if job is None or not job.live:
                self._check_alone()
                raise RunsError(f"{name} is not running: resume it, or start another")
            self._check_owner(name, visitor)
            return job

    def _check_alone(self) -> None:
        if not self.trains_here:
            raise RunsError(self.refusal)

    def _check_owner(self, name: str, visitor: Visitor) -> None:
        self._check_alone()
        if not self.may_control(name, visitor):
            raise RunsError(
                f"{name} belongs to another visitor: you may watch it, or start or fork your own"
            )

    def _add(self, kind: str, visitor: Visitor, pinned: bool, **request: Any) -> str:
        with self._queue.lock:
            self._check_alone()
            if not visitor.teacher:
                self.limits.check(self._queue.live(), visitor)
            return self._put(kind, visitor, pinned, **request)

    def _put(
        self, kind: str, visitor: Visitor, pinned: bool, *, save: bool = True, **request: Any
    ) -> str:
        """Queue a request that is within the limits. save: see `RunQueue.submit`."""
        owner = visitor.id
        if kind == "resume":  # its owner does not change
            owner = self.access.owner(request["name"]) or owner
        request |= {"kind": kind, "visitor": owner, "pinned": pinned, "from": visitor.address}
        teachers = visitor.teacher and kind != "resume"
        kept = "teacher" if teachers else "pinned" if pinned else None
        return self._queue.submit(request, kept, save=save)


@st.cache_resource(show_spinner=False)
def registry() -> RunManager:
    """The one manager of this server; pages call `visible_runs.runs`."""
    manager = RunManager.from_environment()
    at_shutdown(lambda: manager.close(PATIENCE))
    return manager


visible_runs.connect(registry)
