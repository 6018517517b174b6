"""Reading run folders for the pages: what has not changed on disk is not read twice."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from app.choices import get
from app.runs import RunsError, runs
from app.sample import story
from engine.analysis.caching import newest
from engine.ask import Network, load_network
from engine.config import RunConfig
from engine.data import Data, DataError, is_here, load
from engine.store import Run, StoreError


def run(name: str) -> Run:
    """The run of this name. Raises StoreError or RunsError.

    Of a fork, those that it goes back to are taken as gone unless the visitor may see them all.
    """
    found = _at(runs().folder(name))
    return found if found.info.get("parent") is None or _traced(found) else _at(found.folder, True)


def _at(folder: Path, alone: bool = False) -> Run:
    return _run(str(folder), stamp_of(folder / "config.json"), alone)


def _traced(fork: Run) -> bool:
    """Whether all runs that a fork goes back to lie in the folder of the runs and may be seen."""
    home, passed = runs().root.resolve(), {fork.folder.name}
    while (origin := fork.origin) is not None:
        if origin.parent.resolve() != home or origin.name in passed:
            return False
        passed.add(origin.name)
        try:
            fork = _at(runs().folder(origin.name))
        except (RunsError, StoreError):
            return False
    return True


def records(name: str) -> list[dict[str, Any]]:
    """The records of its epochs that are there now; not to be changed. Raises StoreError."""
    of = run(name)
    return _records(of, stamp_of(of.folder / "epochs.json"))


def epochs(*names: str) -> list[int]:
    """The epochs of a run, or of any of several runs, in order. Raises StoreError for none."""
    found = sorted({record["epoch"] for name in names for record in records(name)})
    if not found:
        raise StoreError(f"{', '.join(names)} has no epoch yet")
    return found


def row(*names: str) -> int:
    """Row of the chosen epoch, the nearest one that is there, or the newest if none is chosen.

    Of several runs: its place in `epochs(*names)`, the newest being the last one that all reached.
    """
    found = epochs(*names)
    chosen = get("epoch")
    if chosen is None:
        chosen = min(records(name)[-1]["epoch"] for name in names if records(name))
    return int(np.abs(np.array(found) - chosen).argmin())


def values(name: str, array: str, row: int) -> np.ndarray:
    """One row of an array of the run folder, in memory."""
    of = run(name)
    found = np.array(of.array(array, len(records(name)))[row])
    of.check_numbers(array, found)
    return found


def data(name: str) -> Data:
    """The images behind a run. Raises StoreError where they are gone or have changed."""
    of = run(name)
    config, fingerprint = of.config, of.info["data"]["fingerprint"]
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
    return data(name).take(np.asarray(indices, dtype=np.int64)).permute(0, 2, 3, 1).numpy()


def class_names(name: str) -> list[str]:
    return run(name).info["data"]["classes"]


def sample_name(name: str, index: int) -> str:
    """What the data set calls a sample: its file, or its number."""
    ids = run(name).labels.get("ids")
    return str(index) if ids is None else str(ids[index])


def history(name: str, sample: int) -> dict[str, np.ndarray]:
    """A sample's whole history, see `story.history`; not to be changed."""
    of, n = run(name), len(records(name))
    return _history(str(of.folder), stamp_of(of.folder / "epochs.json"), sample, n, of.alone)


def network(name: str, epoch: int) -> Network:
    """The network after an epoch, or after the nearest one whose network is kept.

    Raises StoreError where none is kept.
    """
    of = run(name)
    kept = of.kept_states()
    if not kept:
        raise StoreError(f"{name} keeps no network, so none can be asked (knob state_interval)")
    nearest = min(kept, key=lambda there: abs(there - epoch))
    path = of.folder / "states" / f"{nearest}.pt"
    return _network(str(of.folder), nearest, stamp_of(path))


@lru_cache(maxsize=64)
def _history(
    folder: str, stamp: tuple[int, int], sample: int, n: int, alone: bool
) -> dict[str, np.ndarray]:
    return story.history(Run(folder, alone=alone), sample, n)


@st.cache_resource(max_entries=4, show_spinner="Loading the network")
def _network(folder: str, epoch: int, stamp: tuple[int, int]) -> Network:
    return load_network(Run(folder), epoch)


@lru_cache(maxsize=128)
def _run(folder: str, stamp: tuple[int, int], alone: bool) -> Run:
    return Run(folder, alone=alone)


@newest(maxsize=128)
def _records(of: Run, stamp: tuple[int, int]) -> list[dict[str, Any]]:
    return of.epochs


def stamp_of(path: os.PathLike) -> tuple[int, int]:
    """Changes whenever a file is replaced; (0, 0) for one that is not there."""
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        return 0, 0
    return stat.st_mtime_ns, stat.st_ino


@st.cache_resource(max_entries=4, show_spinner="Loading the images")
def _data(
    dataset: str, limit: int | None, data_seed: int, image_size: int | None, fingerprint: str
) -> Data | None:
    """The data set if it is still the one that was trained on."""
    found = load(dataset, limit=limit, seed=data_seed, image_size=image_size)
    return found if found.fingerprint() == fingerprint else None


@st.cache_resource(max_entries=2, show_spinner="Loading the images")
def _dataset(
    dataset: str, limit: int | None, data_seed: int, image_size: int | None,
    stamp: tuple[int, int],
) -> Data:  # fmt: skip
    return load(dataset, limit=limit, seed=data_seed, image_size=image_size)
