"""The maps of a run's epochs: files in its folder, each computed from the map before.

    maps/umap2/000007.npy    (P, 2) float32, the panel's map after epoch 7; umap3 holds 3-D ones

Each map starts from the one before, read back from its file, so after a crash, or with two
processes at once, the maps are the same. A fork's first map starts from its parent's.
"""

import os
import re
from pathlib import Path

import numpy as np

from engine.embedding import projection
from engine.errors import StoreError
from engine.runs.folder import UNREADABLE, RunFolder, read_array

DIMS = (2, 3)


def map_file(folder: Path | str, dims: int, epoch: int) -> Path:
    """The file of an epoch's map."""
    return Path(folder) / "maps" / f"umap{dims}" / f"{epoch:06d}.npy"


def embedded_epochs(folder: Path | str, dims: int) -> list[int]:
    """Epochs that have a map, in order."""
    names = (path.stem for path in map_file(folder, dims, 0).parent.glob("*.npy"))
    return sorted(int(name) for name in names if re.fullmatch("[0-9]{6,9}", name))


def read_map(folder: Path | str, dims: int, epoch: int) -> np.ndarray | None:
    """(P, dims) float32; None if the epoch has no map or its file cannot be read."""
    try:
        layout = read_array(folder, map_file("", dims, epoch).as_posix())
    except UNREADABLE:
        return None
    fits = layout.dtype == np.float32 and layout.ndim == 2 and layout.shape[1] == dims
    return layout if fits and np.isfinite(layout).all() else None


def embed_next_epoch(folder: Path | str, dims: int) -> int | None:
    """Compute the map of a run's first epoch without one; returns the epoch, None if all have one.

    Raises StoreError if the folder is no run folder or cannot be written.
    """
    run = RunFolder(folder)
    done = set(embedded_epochs(folder, dims))
    for row, record in enumerate(run.epochs):
        if record["epoch"] in done:
            continue
        features = run.array("panel_features")[row]
        previous = _previous_map(run, dims, record["epoch"])
        if previous is not None and previous.shape != (len(features), dims):
            previous = None  # a parent with another panel
        _write(map_file(folder, dims, record["epoch"]), projection.umap(features, dims, previous))
        return record["epoch"]
    return None


def _previous_map(run: RunFolder, dims: int, epoch: int) -> np.ndarray | None:
    if epoch > run.info["first_epoch"] or run.info["parent"] is None:
        return read_map(run.folder, dims, epoch - 1)
    maps = (read_map(folder, dims, epoch - 1) for folder in run.parent_folders)
    return next((layout for layout in maps if layout is not None), None)


def _write(path: Path, layout: np.ndarray) -> None:
    """Write a map whole; the folder of a deleted run is not created again."""
    try:
        for folder in (path.parent.parent, path.parent):
            folder.mkdir(exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        with open(temporary, "wb") as file:
            np.save(file, layout)
        os.replace(temporary, path)
    except OSError as error:
        raise StoreError(f"the map cannot be written to {path}: {error.strerror}") from error
