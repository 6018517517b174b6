"""The runs that a fork goes back to: one rule for all who need what it began with.

A fork carries its parent up to the epoch it was forked from, in its own subfolder parent/, which is
a run folder, too, and holds the parent's own parent. Whatever becomes of the parent, the fork stays
whole. Arrays are hard links, so they take room only once the parent is deleted, and at most what it
took; where the file system knows no links they are copied. Forks of earlier versions carry nothing:
their parent is searched where they say, then beside them.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from engine.runs import records, schema
from engine.runs.folder import ARRAYS, RunFolder, StoreError
from engine.runs.opened import open_run

CARRIED = "parent"  # the subfolder
MAPS = ("umap2", "umap3")


def places(run: RunFolder) -> Iterator[Path]:
    """Where a fork's parent may be, the copy that it carries first; none for other runs."""
    if run.info["parent"] is not None and not run.alone:
        recorded = Path(run.info["parent"]["run"])
        yield from (run.folder / CARRIED, recorded, run.folder.parent / recorded.name)


def parent_of(run: RunFolder) -> RunFolder | None:
    """The run that a fork began from, with the epoch it was forked from; None where there is none.

    It may have later epochs as well.
    """
    for folder in places(run):
        with contextlib.suppress(StoreError):
            parent, epoch = open_run(folder), run.info["parent"]["epoch"]
            # it came before the fork, so no chain of parents comes back to where it began
            if parent.epochs and parent.info["first_epoch"] <= epoch <= parent.epochs[-1]["epoch"]:
                return parent
    return None


def continued(run: RunFolder) -> RunFolder | None:
    """The parent whose soft labels a fork went on with: None where its given labels are others."""
    parent = parent_of(run)
    with contextlib.suppress(StoreError):
        if parent and np.array_equal(parent.labels["given"], run.labels["given"]):
            return parent
    return None


def carry(parent: RunFolder, epoch: int, folder: Path) -> None:
    """Put what a fork needs of its parent into the fork's folder. Raises OSError, StoreError."""
    copy = folder / CARRIED
    _carry_run(parent, epoch, copy)
    names = [f"states/{epoch}.pt", *(f"maps/{name}/{epoch:06d}.npy" for name in MAPS)]
    for name in names:
        _link(parent.folder, copy, name)


def drop_state(folder: Path, epoch: int) -> None:
    """Remove the parent's checkpoint, which a fork needs until it has one of its own."""
    with contextlib.suppress(OSError):
        (folder / CARRIED / "states" / f"{epoch}.pt").unlink(missing_ok=True)


def _carry_run(run: RunFolder, epoch: int, copy: Path) -> None:
    copy.mkdir()
    for name in ("config.json", "labels.npz", *(f"arrays/{name}.npy" for name in ARRAYS)):
        _link(run.folder, copy, name)
    until = [record for record in run.epochs if record["epoch"] <= epoch]
    (copy / "epochs.jsonl").write_text(records.lines(until))
    (copy / "status.json").write_text('{"state": "stopped", "message": "", "time": 0.0}')
    if (older := parent_of(run)) is not None:
        _carry_run(older, run.info["parent"]["epoch"], copy / CARRIED)


def _link(source: Path, target: Path, name: str) -> None:
    """Link a file of a run folder, or copy it; one that the run lacks is left out."""
    try:
        path = Path(schema.own_path(source, name)).resolve()  # no way out of the run's folder
    except (OSError, ValueError):
        return
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target / name)
    except OSError:
        _copy(path, target / name)


def _copy(source: Path, target: Path) -> None:
    """Copy a file; holes, which are planes of an array that no epoch has used, stay holes."""
    with open(source, "rb") as old, open(target, "wb") as new:
        size, end = os.fstat(old.fileno()).st_size, 0
        new.truncate(size)
        while end < size:
            try:
                start = os.lseek(old.fileno(), end, os.SEEK_DATA)
            except OSError:  # nothing but a hole is left
                return
            end = os.lseek(old.fileno(), start, os.SEEK_HOLE)
            old.seek(start)
            new.seek(start)
            left = end - start
            while left and (part := old.read(min(left, 2**20))):
                new.write(part)
                left -= len(part)
