"""Which ended runs of visitors are tidied away: old ones, and the oldest beyond a size.

These stay: pinned runs and a teacher's (table "kept"), a lesson's, those without an owner, those
with decisions about labels, those that wait or train, here or on the command line, those that a run
that stays or waits was forked from, and links to folders elsewhere.
"""

import logging
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
# the newest tells when a run was written
FILES = ("config.json", "epochs.jsonl", "epochs.json", "status.json")


def choose(
    root: Path, storage: Storage, busy: set[str], now: float, keep_seconds: float, keep_bytes: float
) -> tuple[list[str], list[str]]:
    """Names of the runs that are too old, and of those beyond keep_bytes, the oldest first.

    busy: runs that wait or train, and those that they will be forked from. now: seconds since
    1970. keep_bytes: of the disk, for all runs that have an owner.
    """
    owners = storage.table("owners")
    there = {name for name in owners if name and name == Path(name).name and (root / name).is_dir()}
    ages = {name: now - _written(root / name) for name in there}
    fixed = {name for name in there if _stays(name, root, storage, busy)}
    by_age = sorted(there - fixed, key=lambda name: -ages[name])
    parents = {path.parent.name: _parent(path) for path in root.glob("*/config.json")}
    old = _without_parents(parents, [name for name in by_age if ages[name] > keep_seconds])
    sizes = {name: _size(root / name) for name in there - set(old)}
    beyond, large = sum(sizes.values()) - keep_bytes, []
    for name in (name for name in by_age if name in sizes):
        gone = {*old, *large, name}
        if beyond > 0 and name not in {p for run, p in parents.items() if run not in gone}:
            large.append(name)
            beyond -= sizes[name]
    return old, large


def tidy(
    queue: "RunQueue", storage: Storage, now: float, keep_seconds: float, keep_bytes: float
) -> list[str]:
    """Remove what `choose` names; returns the names of the runs that are gone."""
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
                log.warning("%s was not tidied away completely: %s", name, failure)
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
    """Keep and log what was removed."""
    at = datetime.fromtimestamp(now, UTC).isoformat(timespec="minutes")
    storage.replace("tidied", {"at": at, "old": len(old), "large": len(large)})
    log.warning(
        "tidied away: %d old runs, %d beyond the size: %s",
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
    """Those of names that no run outside of them was forked from, nor one that stays thereby."""
    gone = set(names)
    while True:
        needed = {parent for name, parent in parents.items() if name not in gone}
        if not gone & needed:
            return [name for name in names if name in gone]
        gone -= needed


def _parent(path: Path) -> str | None:
    try:
        parent = read_json(path).get("parent")
        return Path(parent["run"]).name if parent else None
    except (StoreError, AttributeError, KeyError, TypeError, RecursionError):
        return None


def _written(folder: Path) -> float:
    """When a run was written last, in seconds since 1970; that of the folder where none was."""
    times = [(folder / name).stat().st_mtime for name in FILES if (folder / name).exists()]
    return max(times, default=folder.stat().st_mtime)


def _size(folder: Path) -> int:
    """Bytes of the disk below a folder; links are not followed.

    A file that a fork shares with its parent counts in parts, so that all together it counts once.
    """
    found = [path.lstat() for path in folder.rglob("*")]
    return sum(512 * f.st_blocks // (1 if stat.S_ISDIR(f.st_mode) else f.st_nlink) for f in found)
