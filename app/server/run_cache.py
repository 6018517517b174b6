"""Reading run folders for the pages: what has not changed on disk is not read twice."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from app.server.run_manager import RunsError, runs
from engine.analysis import sample_history
from engine.config import RunConfig
from engine.data import is_here, load
from engine.errors import DataError, StoreError
from engine.runs.folder import Run
from engine.runs.lineage import parent_of
from engine.runs.opened import open_run
from engine.runs.records import epochs_file

if TYPE_CHECKING:
    from engine.data import Data
    from engine.runs.predictor import Predictor


def run(name: str) -> Run:
    """The run of this name. Raises StoreError or RunsError.

    Of a fork, those that it goes back to are taken as gone unless the visitor may see them all.
    """
    found = _at(runs().folder(name))
    return found if found.info.get("parent") is None or _traced(found) else _at(found.folder, True)


def _at(folder: Path, alone: bool = False) -> Run:
    return open_run(folder, alone=alone)


def _traced(fork: Run) -> bool:
    """Whether the visitor may see all runs that a fork goes back to.

    They lie in the folder of the runs, or the fork carries them and they are gone from there.
    """
    home = runs().root.resolve()
    while (parent := parent_of(fork)) is not None:
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
    """The records of its epochs that are there now; not to be changed. Raises StoreError."""
    return run(name).epochs


def epochs(*names: str) -> list[int]:
    """The epochs of a run, or of any of several runs, in order. Raises StoreError for none."""
    found = sorted({record["epoch"] for name in names for record in records(name)})
    if not found:
        raise StoreError(f"{', '.join(names)} has no epoch yet")
    return found


def values(name: str, array: str, row: int) -> np.ndarray:
    """One row of an array of the run folder, in memory."""
    return run(name).row(array, row)


def data(name: str) -> Data:
    """The images behind a run. Raises StoreError where they are gone or have changed."""
    return data_of(run(name))


def data_of(run: Run) -> Data:
    """`data` of a run that was looked up."""
    name, config, fingerprint = run.folder.name, run.config, run.info["data"]["fingerprint"]
    if not is_here(config.dataset):  # a look shall not start a download
        raise StoreError(f"the images of {name} cannot be shown: {config.dataset} is not here")
    try:
        found = _data(
            config.dataset, config.limit, config.data_seed, config.image_size, fingerprint
        )
    except DataError as error:
        raise StoreError(f"the images of {name} cannot be shown: {error}") from None
    if found is None:
        raise StoreError(f"the images of {name} have changed since it was trained")
    return found


def dataset(config: RunConfig) -> Data:
    """The data set that settings name. Raises DataError; also for one of another visitor."""
    if not runs().may_use(config.dataset):
        raise DataError("this data set is not yours: bring it yourself on Your data")
    stamp = stamp_of(config.dataset.partition(":")[2])
    return _dataset(config.dataset, config.limit, config.data_seed, config.image_size, stamp)


def pixels(name: str, indices: np.ndarray | list[int]) -> np.ndarray:
    """Training images (n, H, W, C) uint8, C 1 or 3."""
    return pixels_of(run(name), indices)


def pixels_of(run: Run, indices: np.ndarray | Sequence[int]) -> np.ndarray:
    """`pixels` of a run that was looked up."""
    chosen = np.asarray(indices, dtype=np.int64)
    return data_of(run).take(chosen).permute(0, 2, 3, 1).numpy()


def class_names(name: str) -> list[str]:
    return run(name).info["data"]["classes"]


def sample_name(name: str, index: int) -> str:
    """What the data set calls a sample: its file, or its number."""
    ids = run(name).labels.get("ids")
    return str(index) if ids is None else str(ids[index])


def history(name: str, sample: int) -> dict[str, np.ndarray]:
    """A sample's whole history, see `story.history`; not to be changed."""
    of, n = run(name), len(records(name))
    return _history(str(of.folder), stamp_of(epochs_file(of.folder)), sample, n, of.alone)


def network(name: str, epoch: int) -> Predictor:
    """The network after an epoch, or after the nearest one whose network is kept.

    Raises StoreError where none is kept.
    """
    of = run(name)
    kept = of.kept_states()
    if not kept:
        raise StoreError(f"{name} keeps no network, so none can be asked (setting state_interval)")
    nearest = min(kept, key=lambda there: abs(there - epoch))
    path = of.folder / "states" / f"{nearest}.pt"
    return _network(str(of.folder), nearest, stamp_of(path))


@lru_cache(maxsize=64)
def _history(
    folder: str, stamp: tuple[int, ...], sample: int, n: int, alone: bool
) -> dict[str, np.ndarray]:
    return sample_history.sample_history(open_run(folder, alone=alone), sample, n)


@st.cache_resource(max_entries=4, show_spinner="Loading the network")
def _network(folder: str, epoch: int, stamp: tuple[int, ...]) -> Predictor:
    from engine.runs.predictor import load_predictor  # late: torch

    return load_predictor(Run(folder), epoch)


def stamp_of(path: os.PathLike) -> tuple[int, ...]:
    """Changes whenever a file is replaced or grows; zeros for one that is not there."""
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        return 0, 0, 0
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


@st.cache_resource(max_entries=4, show_spinner="Loading the images")
def _data(
    dataset: str, limit: int | None, data_seed: int, image_size: int | None, fingerprint: str
) -> Data | None:
    """The data set if it is still the one that was trained on."""
    found = load(dataset, limit=limit, seed=data_seed, image_size=image_size)
    return found if found.fingerprint() == fingerprint else None


@st.cache_resource(max_entries=2, show_spinner="Loading the images")
def _dataset(
    dataset: str, limit: int | None, data_seed: int, image_size: int | None, stamp: tuple[int, ...]
) -> Data:
    return load(dataset, limit=limit, seed=data_seed, image_size=image_size)
