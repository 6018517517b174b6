"""What there is to know about the runs of one root: those of this process and those on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.server import run_folders
from app.server.access import Access
from app.server.lease import Lease
from app.server.limits import Limits
from app.server.run_queue import RunQueue
from app.server.scheduling import RunInfo
from app.server.storage import storage_of
from app.server.visitors import Visitor


class RunReader:
    """The reading half of `RunManager`. Every method may be called from any thread."""

    def __init__(
        self, root: Path, limits: Limits, reap_after: float, clock: Callable[[], float]
    ) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root, self.limits = root, limits
        self.storage = storage_of(root)
        self.lease = Lease(root)
        self._queue = RunQueue(self.storage, limits, reap_after, clock)
        self.access = Access(root, self.storage, self._queue.dataset)

    def folder(self, name: str) -> Path:
        """The folder of a run. Raises RunsError for a name that is no plain folder name."""
        return run_folders.folder_of(self.root, name)

    def names(self) -> list[str]:
        """All runs, newest first; in front those that failed before they had a folder."""
        on_disk = run_folders.names_in(self.root)
        with self._queue.lock:
            unborn = [name for name in self._queue.jobs if name not in on_disk]
        return unborn[::-1] + on_disk

    def info(self, name: str) -> RunInfo:
        """State and progress of a run. Raises RunsError where there is no such run."""
        self.folder(name)
        with self._queue.lock:
            job = self._queue.jobs.get(name)
            if job is not None:
                return self._queue.info(job)
        pinned = self.storage.table("kept").get(name) == "pinned"
        return run_folders.info_on_disk(self.root, name, self.access.owner(name), pinned)

    def active(self) -> list[RunInfo]:
        """Runs that have a slot, those that are paused without one, then those that wait."""
        with self._queue.lock:
            return self._queue.active()

    @property
    def alone(self) -> bool:
        """Whether this server is the one that trains over this root."""
        return self.lease.held

    @property
    def slots(self) -> int:
        """Runs that train at once."""
        return self.limits.slots

    @property
    def per_visitor(self) -> int:
        """Runs that one visitor may have queued or running."""
        return self.limits.per_visitor

    def tidied(self) -> dict[str, Any]:
        """What was tidied away last: {"at", "old", "large"}, empty if nothing was."""
        return self.storage.table("tidied")

    def private(self, name: str) -> bool:
        """Whether only some visitors may see a run."""
        return self.access.private(name)

    def link_key(self, name: str) -> str:
        """The key of a run's share link; "" where there is none."""
        return self.access.link_key(name)

    def may_control(self, name: str, visitor: Visitor) -> bool:
        """Whether a visitor may control a run and decide on its labels."""
        return self.access.may_control(name, visitor)

    def mark_watched(self, name: str) -> None:
        """A page shows this run now."""
        with self._queue.lock:
            self._queue.mark_watched(name)
