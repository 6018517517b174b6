"""Cached reading of run folders for the pages: unchanged files are read once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from app.server.run_info import RunsError
from app.server.visible_runs import runs
from engine.analysis import sample_history
from engine.config import RunConfig
from engine.data import is_available, load
from engine.errors import DataError, StoreError
from engine.runs.folder import NOT_RECORDED, RunFolder, open_run
from engine.runs.records import epochs_file

if TYPE_CHECKING:
    from engine.data import Data


def run(name: str) -> RunFolder:
    """The run of this name. Raises StoreError or RunsError.

    The ancestors of a fork count as missing unless the visitor may see all of them.
    """
    run = _at(runs().folder(name))
    return run if run.info.get("parent") is None or _traced(run) else _at(run.folder, True)


def _at(folder: Path, alone: bool = False) -> RunFolder:
    return open_run(folder, alone=alone)


def _traced(fork: RunFolder) -> bool:
    """Whether the visitor may see all ancestors of a fork.

    An ancestor is in the runs root, or inside the fork and no longer in the root.
    """
    home = runs().root.resolve()
    while (parent := fork.parent) is not None:
        carried = parent.folder.resolve().is_relative_to(fork.folder.resolve())
        if not carried and parent.folder.parent.resolve() != home:
            return False
        name = Path(fork.info["parent"]["run"]).name
        if not carried or os.path.lexists(home / name):
            try:
                runs().folder(name)
            except RunsError:
                return False
        fork = parent
    return True


def records(name: str) -> list[dict[str, Any]]:
    """The records of a run's completed epochs; do not modify them. Raises StoreError."""
    return run(name).epochs


def epochs(*names: str) -> list[int]:
    """The epochs of one or several runs together, ascending. Raises StoreError if there is none."""
    numbers = sorted({record["epoch"] for name in names for record in records(name)})
    if not numbers:
        raise StoreError(f"{', '.join(names)} has no epoch yet")
    return numbers


def values(name: str, array: str, row: int) -> np.ndarray:
    """Row `row` (of the epoch) of an array of the run folder, in memory. Raises StoreError."""
    return run(name).row(array, row)


def data(name: str) -> Data:
    """The data set of a run. Raises StoreError if it is missing or has changed."""
    return data_of(run(name))


def data_of(run: RunFolder) -> Data:
    """The data set of an open run. Raises StoreError if it is missing or has changed."""
    name, config, fingerprint = run.folder.name, run.config, run.info["data"]["fingerprint"]
    if config.dataset == NOT_RECORDED:
        raise StoreError(
            f"{name} was recorded without images: pass them to Recorder(folder, images, labels)"
        )
    if not is_available(config.dataset):  # opening a page must not start a download
        raise StoreError(
            f"the images of {name} cannot be shown: {config.dataset} is not on this machine"
        )
    try:
        data = _data(*_arguments(config), fingerprint)
    except DataError as error:
        raise StoreError(f"the images of {name} cannot be shown: {error}") from None
    if data is None:
        raise StoreError(f"the images of {name} have changed since it was trained")
    return data


def dataset(config: RunConfig) -> Data:
    """The data set that settings name. Raises DataError, also for another visitor's data."""
    if not runs().may_use(config.dataset):
        raise DataError("this data set is not yours: upload it yourself on Your data")
    stamp = stamp_of(config.dataset.partition(":")[2])
    return _dataset(*_arguments(config), stamp)


def pixels(name: str, indices: np.ndarray | list[int]) -> np.ndarray:
    """Training images of a run: (n, H, W, C) uint8, C 1 or 3. Raises StoreError."""
    return pixels_of(run(name), indices)


def pixels_of(run: RunFolder, indices: np.ndarray | Sequence[int]) -> np.ndarray:
    """Training images of an open run: (n, H, W, C) uint8, C 1 or 3. Raises StoreError."""
    return data_of(run).pictures(indices)


def inputs_of(run: RunFolder, indices: np.ndarray | Sequence[int]) -> np.ndarray:
    """What the network gets of training samples: (n, C, H, W) float32, images in 0..255 or rows.

    Raises StoreError.
    """
    return data_of(run).take(indices).float().numpy()


def class_names(name: str) -> list[str]:
    """The names of the classes of a run. Raises StoreError."""
    return run(name).info["data"]["classes"]


def sample_name(name: str, index: int) -> str:
    """The name of a sample in its data set: its file name, or its index."""
    ids = run(name).labels.get("ids")
    return str(index) if ids is None else str(ids[index])


def history(name: str, sample: int) -> dict[str, np.ndarray]:
    """A sample's whole history, see `sample_history.history`; do not modify it."""
    of, n = run(name), len(records(name))
    return _history(str(of.folder), stamp_of(epochs_file(of.folder)), sample, n, of.alone)


@lru_cache(maxsize=64)
def _history(
    folder: str, stamp: tuple[int, ...], sample: int, n: int, alone: bool
) -> dict[str, np.ndarray]:
    return sample_history.sample_history(open_run(folder, alone=alone), sample, n)


def stamp_of(path: os.PathLike | str) -> tuple[int, ...]:
    """(mtime, size, inode): changes if a file is replaced or grows; zeros if it is missing."""
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        return 0, 0, 0
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


@st.cache_resource(max_entries=4, show_spinner="Loading the images")
def _data(dataset: str, arguments: tuple, fingerprint: str) -> Data | None:
    """The data set if its fingerprint is still that of the training data, else None."""
    data = load(dataset, **dict(arguments))
    return data if data.fingerprint() == fingerprint else None


@st.cache_resource(max_entries=2, show_spinner="Loading the images")
def _dataset(dataset: str, arguments: tuple, stamp: tuple[int, ...]) -> Data:
    return load(dataset, **dict(arguments))


def _arguments(config: RunConfig) -> tuple[str, tuple]:
    """The name and the other arguments of `load` for the data set of a run, in a hashable form."""
    names = {"limit": "limit", "data_seed": "seed", "image_size": "image_size",
             "image_fit": "image_fit", "backbone": "backbone",
             "backbone_weights": "backbone_weights"}  # fmt: skip
    return config.dataset, tuple((to, getattr(config, name)) for name, to in names.items())
