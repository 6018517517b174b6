"""The ancestors of a fork: one rule for everything that needs them.

A fork contains its parent up to the epoch it was forked from, in its own subfolder parent/, which
is a run folder, too, and contains the parent's own parent. So the fork is complete whatever happens
to its parent. Arrays are hard links, which take room only once the parent is deleted, and at most
what it took; on file systems without links they are copies. Forks of earlier versions contain
nothing: their parent is searched at its recorded path, then next to the fork. The recorded path is
relative to the fork, so that both can be moved together.
"""

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import StoreError
from engine.runs import records, schema

if TYPE_CHECKING:
    from engine.runs.folder import RunFolder

MAPS = ("umap2", "umap3")


def label_parent(run: "RunFolder") -> "RunFolder | None":
    """The parent whose soft labels a fork continues; None where the given labels differ."""
    parent = run.parent
    with contextlib.suppress(StoreError):
        if parent and np.array_equal(parent.labels["given"], run.labels["given"]):
            return parent
    return None


def records_before(run: "RunFolder") -> list[dict[str, Any]]:
    """The records of the epochs before a fork, from those of its parents that still exist."""
    parent = label_parent(run)
    if parent is None:
        return []
    return [
        r for r in [*records_before(parent), *parent.epochs] if r["epoch"] < run.info["first_epoch"]
    ]


def reference(parent: Path, epoch: int, fork: Path) -> dict[str, Any]:
    """What a fork records of its parent: the path from the fork's folder, and the last epoch."""
    return {"run": os.path.relpath(parent.resolve(), fork.resolve()), "epoch": epoch}


def copy_parent(parent: "RunFolder", epoch: int, folder: Path) -> None:
    """Copy what a fork needs of its parent into the fork's folder. Raises OSError, StoreError."""
    copy = folder / schema.PARENT_COPY
    _copy_run(parent, epoch, copy)
    names = [f"states/{epoch}.pt", *(f"maps/{name}/{epoch:06d}.npy" for name in MAPS)]
    for name in names:
        _link(parent.folder, copy, name)


def drop_checkpoint(folder: Path, epoch: int) -> None:
    """Remove the parent's checkpoint, which a fork needs until it has one of its own."""
    with contextlib.suppress(OSError):
        (folder / schema.PARENT_COPY / "states" / f"{epoch}.pt").unlink(missing_ok=True)


def _copy_run(run: "RunFolder", epoch: int, copy: Path) -> None:
    copy.mkdir()
    arrays = [f"arrays/{name}.npy" for name in (*schema.ARRAYS, *schema.OPTIONAL_ARRAYS)]
    for name in ("config.json", "labels.npz", *arrays):
        _link(run.folder, copy, name)
    until = [record for record in run.epochs if record["epoch"] <= epoch]
    (copy / "epochs.jsonl").write_text(records.lines(until))
    (copy / "status.json").write_text('{"state": "stopped", "message": "", "time": 0.0}')
    if (older := run.parent) is not None:
        _copy_run(older, run.info["parent"]["epoch"], copy / schema.PARENT_COPY)


def _link(source: Path, target: Path, name: str) -> None:
    """Link a file of a run folder, or copy it; a file that the run lacks is left out."""
    try:
        path = Path(schema.own_path(source, name)).resolve()  # not out of the run's folder
    except (OSError, ValueError):
        return
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target / name)
    except OSError:
        _copy_file(path, target / name)


def _copy_file(source: Path, target: Path) -> None:
    """Copy a file; holes (planes of an array that no epoch has used) stay holes."""
    with open(source, "rb") as old, open(target, "wb") as new:
        size, end = os.fstat(old.fileno()).st_size, 0
        new.truncate(size)
        while end < size:
            try:
                start = os.lseek(old.fileno(), end, os.SEEK_DATA)
            except OSError:  # only a hole remains
                return
            end = os.lseek(old.fileno(), start, os.SEEK_HOLE)
            old.seek(start)
            new.seek(start)
            left = end - start
            while left and (part := old.read(min(left, 2**20))):
                new.write(part)
                left -= len(part)
