"""The runs of this process and their stored state: queue, owners, folders."""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.server import escaping, run_folders
from app.server.limits import Limits
from app.server.problems import Problem
from app.server.run_jobs import Job
from app.server.scheduler import Scheduler
from app.server.storage import Storage, StorageError
from engine.files import on_disk

if TYPE_CHECKING:
    from engine.runs.runner import Runner


class RunQueue(Scheduler):
    """A scheduler whose queue survives a restart. Call every method under `lock` (reentrant).

    make_runner: root and request -> the run to start, see `runners.make_runner`.
    """

    def __init__(
        self,
        storage: Storage,
        limits: Limits,
        reap_after: float,
        clock: Callable[[], float],
        make_runner: Callable[[Path, dict[str, Any]], "Runner"],
    ):
        super().__init__(limits, reap_after, clock)
        self.lock = threading.RLock()
        self.root = storage.root
        self.storage = storage
        self._make_runner = make_runner

    def dataset(self, name: str) -> str | None:
        """The data set of a run of this process, which may have no folder yet; None for others."""
        with self.lock:
            job = self.jobs.get(name)
            return None if job is None else job.runner.config.dataset

    def submit(self, request: dict[str, Any], kept: str | None = None, *, save: bool = True) -> str:
        """Queue what a request describes; returns the run's name.

        kept: why it is never cleaned up ("pinned" or "teacher"), else None. save: False: the caller
        stores the queue, in a transaction around several calls. Raises StorageError if
        that cannot be written: nothing is queued then, and no folder remains.
        """
        reserved = request["kind"] != "resume"
        job = Job(request, self._make_runner(self.root, request), self._clock())
        replaced = self.add(job)
        try:
            with self.storage.transaction():
                if reserved:  # state of an earlier run of this name
                    self.storage.forget(job.name)
                self.storage.put("owners", job.name, job.owner)
                if kept:
                    self.storage.put("kept", job.name, kept)
                if save:
                    self.save()
        except StorageError:
            del self.jobs[job.name]
            if replaced is not None:
                self.jobs[job.name] = replaced
            if reserved:
                run_folders.release(run_folders.folder_of(self.root, job.name))
            raise
        return job.name

    def save(self) -> None:
        """Store the requests that a restart must queue again. Raises StorageError."""
        self.storage.save_queue(self.requests())

    def restore(self) -> list[Problem]:
        """Queue again what the previous server had queued; returns what could not be restored."""
        problems = []
        for request in self.storage.queue():
            try:
                request = dict(request)
                if not run_folders.has_begun(self.root, request):
                    self.submit(request)
            except StorageError:
                raise
            except Exception as error:  # a missing parent, an older format
                problems.append(self._not_restored(request, error))
        return problems

    def _not_restored(self, request: Any, error: Exception) -> Problem:
        """Remove the reserved folder of a request that cannot be restored."""
        request = request if isinstance(request, dict) else {}
        name, owner = str(request.get("name") or ""), str(request.get("visitor") or "")
        if name and name == os.path.basename(name):  # the folder of a run to resume is not empty
            run_folders.release(self.root / name)
        reason = escaping.without_paths(error, self.root)
        text = f"A queued run could not be restored after the restart: {name or 'without a name'}"
        return Problem(name, owner, f"{text}: {reason}")

    def pin(self, name: str, on: bool) -> None:
        """Let a run train unwatched, and keep it when old runs are cleaned up.

        Raises StorageError; nothing changes then.
        """
        job = self.jobs.get(name)
        before = job is not None and job.pinned
        try:
            with self.storage.transaction():
                if self.storage.table("kept").get(name) != "teacher":
                    self.storage.put("kept", name, "pinned" if on else None)
                if job is not None:
                    job.request["pinned"] = on
                    self.save()
        except StorageError:
            if job is not None:
                job.request["pinned"] = before
            raise

    def withdraw(self, *names: str) -> None:
        """Remove runs that have not started from the queue, with their reserved folders."""
        gone = self.drop(*names)
        with self.storage.transaction():
            for name in gone:
                self.storage.forget(name)
            self.save()

    def drop(self, *names: str) -> list[str]:
        """Like `withdraw`, for runs that are not stored; returns those whose folders are gone."""
        for name in names:
            del self.jobs[name]
        folders = {name: run_folders.folder_of(self.root, name) for name in names}
        return [name for name, folder in folders.items() if run_folders.release(folder)]

    def shut_down(self, patience: float, *, save: bool) -> None:
        """Stop all training and wait for it, at most `patience` seconds; the queue stays stored."""
        with self.lock:
            jobs = [job for job in self.jobs.values() if job.started]
            if save:
                with contextlib.suppress(StorageError):  # a full disk: the last saved queue counts
                    self.save()
        for job in jobs:
            job.runner.stop("because the server was shut down: it can be resumed")
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and any(job.live for job in jobs):
            time.sleep(0.02)

    def remove(self, name: str) -> str:
        """Remove a run's folder and stored state; returns what could not be removed, or ""."""
        failure = run_folders.remove(run_folders.folder_of(self.root, name))
        if not failure:
            self.jobs.pop(name, None)
            self.storage.forget(name)
        return failure

    def round(self) -> None:
        """Do what is due now, see `advance`, and store it. Raises StorageError."""
        self.advance()
        self._release_failed()
        self.save()

    def prune(self) -> None:
        """Remove the stored state of runs whose folders were deleted: names may be used again."""
        tables = [self.storage.table(kind) for kind in ("owners", "links", "kept", "reviews")]
        names = {*self.storage.table("shared").values()}.union(*tables)
        for name in names - self.jobs.keys():
            if not os.path.lexists(on_disk(self.root, name)):
                self.storage.forget(name)

    def _release_failed(self) -> None:
        """Remove the folders of runs that failed before their first file, each once."""
        for job in list(self.jobs.values()):
            if (
                job.live
                or job.folder_released
                or job.runner.ready
                or job.request["kind"] == "resume"
            ):
                continue
            job.folder_released = True
            folder = run_folders.folder_of(self.root, job.name)
            if (folder / "config.json").exists():  # a run of another process, created meanwhile
                del self.jobs[job.name]
                self.storage.forget(job.name)
            else:
                run_folders.release(folder)
