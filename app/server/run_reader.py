"""What is known about the runs of one root: those of this process and those on disk."""

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.server import run_folders
from app.server.access import Access
from app.server.lease import Lease
from app.server.limits import Limits
from app.server.run_info import RunInfo, RunsError, not_found
from app.server.visitors import Visitor
from engine.config import RunConfig
from engine.errors import StoreError
from engine.files import printable
from engine.runs import listing
from engine.runs.folder import open_run

if TYPE_CHECKING:
    from app.server.run_queue import RunQueue


class RunReader:
    """The reading half of `RunManager`. Every method may be called from any thread."""

    def __init__(self, queue: "RunQueue", limits: Limits):
        self.root, self.storage, self.limits = queue.root, queue.storage, limits
        self.lease = Lease(self.root)
        self.access = Access(self.root, self.storage, queue.dataset)
        self._queue = queue

    def folder(self, name: str) -> Path:
        """The folder of a run. Raises RunsError for anything but a plain folder name."""
        return run_folders.folder_of(self.root, name)

    def names(self) -> list[str]:
        """Names of all runs, newest first; first of all those without a folder."""
        on_disk = names_in(self.root)
        known = set(on_disk)
        with self._queue.lock:
            without_folder = [name for name in self._queue.jobs if name not in known]
        return without_folder[::-1] + on_disk

    def info(self, name: str) -> RunInfo:
        """State and progress of a run. Raises RunsError if it does not exist."""
        self.folder(name)
        with self._queue.lock:
            job = self._queue.jobs.get(name)
            if job is not None:
                return self._queue.info(job)
        pinned = self.storage.table("kept").get(name) == "pinned"
        return info_on_disk(self.root, name, self.access.owner(name), pinned)

    def config(self, name: str) -> RunConfig | None:
        """The settings of a run, which may have no folder yet; None where they cannot be read."""
        with self._queue.lock:
            if (job := self._queue.jobs.get(name)) is not None:
                return job.runner.config
        with contextlib.suppress(StoreError):
            return open_run(self.folder(name)).config
        return None

    def active(self) -> list[RunInfo]:
        """Runs with a slot, then those paused without one, then those that wait."""
        with self._queue.lock:
            return self._queue.active()

    @property
    def trains_here(self) -> bool:
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

    def last_cleanup(self) -> dict[str, Any]:
        """The last cleanup: {"at", "old", "large"}, see `housekeeping`; empty if there was none."""
        return self.storage.table("tidied")

    def private(self, name: str) -> bool:
        """Whether only some visitors may see a run."""
        return self.access.private(name)

    def link_key(self, name: str) -> str:
        """The key of a run's share link; "" if it has none."""
        return self.access.link_key(name)

    def may_control(self, name: str, visitor: Visitor) -> bool:
        """Whether a visitor may control a run and decide on its labels."""
        return self.access.may_control(name, visitor)

    def mark_watched(self, name: str) -> None:
        """Note that a page shows this run now."""
        with self._queue.lock:
            self._queue.mark_watched(name)


def names_in(root: Path) -> list[str]:
    """Names of all run folders below root, newest first, without folders of sweeps."""
    dated = []
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.is_dir() and not entry.name.startswith("."):
                with contextlib.suppress(OSError):
                    dated.append((entry.stat().st_ctime, entry.name))
                    config = os.stat(os.path.join(entry.path, "config.json"))
                    dated[-1] = (config.st_mtime, entry.name)
                    continue
                if listing.holds_runs(entry.path):  # a sweep
                    del dated[-1]
    return [printable(name) for _, name in sorted(dated, reverse=True)]


def info_on_disk(root: Path, name: str, owner: str, pinned: bool) -> RunInfo:
    """State and progress of a run from its files. Raises RunsError if its folder does not exist."""
    folder = run_folders.folder_of(root, name)
    if not folder.is_dir():
        raise RunsError(not_found(name))
    try:
        run = open_run(folder)
        status, records = run.status, run.epochs
        return RunInfo(
            name,
            status["state"],
            records[-1]["epoch"] if records else 0,
            run.config.epochs,
            message=status["message"],
            owner=owner,
            pinned=pinned,
        )
    except StoreError as error:
        return RunInfo(name, "broken", message=str(error), owner=owner, pinned=pinned)
