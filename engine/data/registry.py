"""The names that can be asked for, what each one is, and load(), which finds and loads it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.config.names import did_you_mean
from engine.data import digits, folder, npz, published, shapes
from engine.data.parts import has_control, shown
from engine.errors import DataError

if TYPE_CHECKING:
    from engine.data.base import Data

IMAGE_SIZES = (8, 512)


@dataclass(frozen=True)
class Request:
    """What load() was asked for; each family takes from it what it needs."""

    name: str
    argument: str  # after the colon, "" without one
    root: Path
    seed: int
    image_size: int | None


@dataclass(frozen=True)
class DataSet:
    """One line of the listing. Counts are None where they depend on the user's files."""

    usage: str
    description: str
    load: Callable[[Request], "Data"]
    shape: tuple[int, int, int] | None = None  # (C, H, W)
    n_train: int | None = None
    n_test: int | None = None
    n_classes: int | None = None
    needs_download: bool = False


def _published(name: str) -> DataSet:
    source = published.SOURCES[name]
    return DataSet(
        name,
        source.description,
        lambda request: published.load(request.name, request.root),
        source.shape,
        source.n_train,
        source.n_test,
        source.n_classes,
        needs_download=True,
    )


DATASETS: dict[str, DataSet] = {
    "digits": DataSet(
        "digits",
        "handwritten digits, 8x8 gray; a run takes seconds",
        lambda request: digits.load(request.name),
        digits.SHAPE,
        digits.N_TRAIN,
        digits.N_TEST,
        10,
    ),
    "shapes": DataSet(
        "shapes[:N]",
        "ten drawn shapes in any color, place and rotation; N training images, up to a million",
        lambda request: shapes.load(request.name, request.argument, request.seed),
        shapes.SHAPE,
        shapes.N_TRAIN,
        shapes.n_test(shapes.N_TRAIN),
        len(shapes.CLASSES),
    ),
    **{name: _published(name) for name in published.SOURCES},
    "npz": DataSet(
        "npz:PATH",
        "your own arrays in one .npz file in the MedMNIST layout",
        lambda request: npz.load(request.name, _path(request)),
    ),
    "folder": DataSet(
        "folder:PATH",
        "your own image files in train/<class>/, optionally val/<class>/ and test/<class>/",
        lambda request: folder.load(request.name, _path(request), request.image_size),
    ),
}


def load(
    name: str,
    *,
    root: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    image_size: int | None = None,
) -> "Data":
    """Load a data set by its name in DATASETS.

    root is where downloads are kept, by default the environment variable MIXNN_DATA or data/ in the
    project. limit keeps that many training samples in the classes' own shares, at least one per
    class; the test part stays whole. seed draws the limited sample, and for shapes the images.
    image_size, for folder: only, makes all images that many pixels high and wide.
    Raises DataError naming what is wrong and what is allowed.
    """
    key, colon, argument = name.partition(":")
    if has_control(name):
        raise DataError(f"the name {shown(name)!r} holds control characters, which no data set has")
    if key not in DATASETS:
        guess = did_you_mean(key, DATASETS) or "."
        choices = ", ".join(entry.usage for entry in DATASETS.values())
        raise DataError(f"no data set is called {name!r}{guess} Choose from {choices}")
    entry = DATASETS[key]
    if colon and ":" not in entry.usage:
        raise DataError(f"{key!r} stands alone, without {':' + argument!r}")
    if image_size is not None:
        low, high = IMAGE_SIZES
        if key != "folder" or not low <= image_size <= high:
            raise DataError(
                f"image_size {image_size} with {name!r}: only folder: takes one, "
                f"{low} to {high} pixels"
            )
    try:
        data = entry.load(Request(name, argument, data_folder(root), seed, image_size))
    except OSError as error:  # a name too long, a path that may not be read
        raise DataError(f"{shown(name)!r} cannot be read: {error.strerror or error}") from None
    if limit is None:
        return data
    n_classes = len(data.labels.unique())
    if limit < n_classes:
        raise DataError(f"limit {limit} is less than one sample for each of {n_classes} classes")
    return data if limit >= data.n else data.subset(stratified(data.labels.numpy(), limit, seed))


def is_here(name: str, root: Path | None = None) -> bool:
    """Whether load would find a published data set without a download; True for all others."""
    entry = DATASETS.get(name)
    return entry is None or not entry.needs_download or (data_folder(root) / f"{name}.npz").exists()


def data_folder(root: Path | None = None) -> Path:
    """Where downloads are kept: root, else MIXNN_DATA, else data/ in the project."""
    default = Path(__file__).resolve().parents[2] / "data"
    return Path(root or os.environ.get("MIXNN_DATA") or default).expanduser()


def stratified(labels: np.ndarray, n: int, seed: int) -> np.ndarray:
    """n rows (n,) int64, ascending, drawn so that each class of labels (N,) keeps its share.

    Counts differ from exact shares by less than one, save where a class would get no sample:
    it gets one. n lies between the number of classes and N.
    """
    rng = np.random.default_rng(seed)
    counts = np.bincount(labels)
    shares = counts * (n / len(labels))
    take = np.maximum(np.floor(shares), counts > 0).astype(int)
    while (missing := n - take.sum()) != 0:
        if missing > 0:
            take[np.argmax(shares - take)] += 1
        else:
            take[np.argmax(np.where(take > 1, take - shares, -np.inf))] -= 1
    rows = [rng.permutation(np.flatnonzero(labels == c))[:k] for c, k in enumerate(take)]
    return np.sort(np.concatenate(rows))


def _path(request: Request) -> Path:
    if not request.argument:
        raise DataError(f"{request.name!r} needs a path after a colon, like npz:/data/mine.npz")
    try:
        return Path(request.argument).expanduser()
    except RuntimeError:
        home = request.argument.partition("/")[0]
        raise DataError(f"{request.name!r}: there is no home folder {home!r} here") from None
