"""Removal of visitors' ended runs: old ones, and the oldest ones above a total size.

Never removed: pinned runs and a teacher's (table "kept"), a lesson's, runs without an owner, runs
with decisions on labels, runs that wait or train (here or on the command line), ancestors of runs
that are kept or wait, and links to other folders.
"""

import contextlib
import logging
import math
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from app.server.decisions import has_decisions
from app.server.storage import Storage
from app.server.visitors import EVERYONE
from engine.errors import StoreError
from engine.files import read_json
from engine.runs.folder import is_locked

if TYPE_CHECKING:
    from app.server.run_queue import RunQueue

log = logging.getLogger(__name__)
# the newest of them shows when a run was last written
FILES = ("config.json", "epochs.jsonl", "epochs.json", "status.json")


def choose(
    root: Path, storage: Storage, busy: set[str], now: float, keep_seconds: float, keep_bytes: float
) -> tuple[list[str], list[str]]:
    """Names of the runs that are too old, and of the oldest ones above keep_bytes, oldest first.

    busy: runs that wait or train, and their parents. now: seconds since 1970. keep_seconds: the
    highest age. keep_bytes: disk space of all runs that have an owner.
    """
    owners = storage.table("owners")
    names = {name for name in owners if name and name == Path(name).name and (root / name).is_dir()}
    ages = {name: now - _written(root / name) for name in names}
    fixed = {name for name in names if _stays(name, root, storage, busy)}
    by_age = sorted(names - fixed, key=lambda name: -ages[name])
    parents = {path.parent.name: _parent(path) for path in root.glob("*/config.json")}
    old = _without_parents(parents, [name for name in by_age if ages[name] > keep_seconds])
    sizes = {name: _size(root / name) for name in names - set(old)}
    excess = sum(sizes.values()) - keep_bytes
    large: list[str] = []
    for name in (name for name in by_age if name in sizes):
        removed = {*old, *large, name}
        if excess > 0 and name not in {p for run, p in parents.items() if run not in removed}:
            large.append(name)
            excess -= sizes[name]
    return old, large


def clean_up(
    queue: "RunQueue", storage: Storage, now: float, keep_seconds: float, keep_bytes: float
) -> list[str]:
    """Remove the runs that `choose` names; returns the names of the removed ones."""
    with queue.lock:
        live = queue.live()
    busy = {job.name for job in live} | {job.request.get("parent", "") for job in live}
    old, large = choose(storage.root, storage, busy, now, keep_seconds, keep_bytes)
    removed = []
    for name in (*old, *large):
        with queue.lock:
            job = queue.jobs.get(name)
            if job is not None and job.live or storage.table("kept").get(name):
                continue  # resumed or pinned meanwhile
            if failure := queue.remove(name):
                log.warning("%s was not removed completely: %s", name, failure)
            else:
                removed.append(name)
    if removed:
        note(
            storage,
            now,
            [name for name in old if name in removed],
            [name for name in large if name in removed],
        )
    return removed


def note(storage: Storage, now: float, old: list[str], large: list[str]) -> None:
    """Store and log what was removed."""
    at = datetime.fromtimestamp(now, UTC).isoformat(timespec="minutes")
    storage.replace("tidied", {"at": at, "old": len(old), "large": len(large)})
    log.warning(
        "removed %d old runs, and %d above the total size: %s",
        len(old),
        len(large),
        ", ".join((*old, *large)),
    )


def _stays(name: str, root: Path, storage: Storage, busy: set[str]) -> bool:
    owner = storage.table("owners").get(name)
    return (
        not owner
        or owner == EVERYONE.id
        or name in busy
        or (root / name).is_symlink()
        or is_locked(root / name)
        or name in storage.table("kept")
        or name in storage.table("shared").values()
        or has_decisions(root / name)
    )


def _without_parents(parents: dict[str, str | None], names: list[str]) -> list[str]:
    """Those of names that are no ancestor of a run that remains."""
    removed = set(names)
    while True:
        needed = {parent for name, parent in parents.items() if name not in removed}
        if not removed & needed:
            return [name for name in names if name in removed]
        removed -= needed


def _parent(path: Path) -> str | None:
    try:
        parent = read_json(path).get("parent")
        return Path(parent["run"]).name if parent else None
    except (StoreError, AttributeError, KeyError, TypeError, RecursionError):
        return None


def _written(folder: Path) -> float:
    """When a run was last written, in seconds since 1970; without files its folder's time.

    Infinity if the folder has just been removed.
    """
    for paths in ([folder / name for name in FILES], [folder]):
        times = []
        for path in paths:
            with contextlib.suppress(OSError):
                times.append(path.stat().st_mtime)
        if times:
            return max(times)
    return math.inf


def _size(folder: Path) -> int:
    """Disk space below a folder in bytes; links are not followed.

    A file that a fork shares with its parent counts in parts, so that in total it counts once.
    """
    stats = [path.lstat() for path in folder.rglob("*")]
    return sum(512 * s.st_blocks // (1 if stat.S_ISDIR(s.st_mode) else s.st_nlink) for s in stats)
