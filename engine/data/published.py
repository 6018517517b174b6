"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100: downloaded once by torchvision, then one .npz."""

import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.data import npz
from engine.errors import DataError

if TYPE_CHECKING:
    from engine.data.base import Data


@dataclass(frozen=True)
class Source:
    torchvision_name: str
    description: str
    shape: tuple[int, int, int]  # (C, H, W)
    n_train: int
    n_test: int
    n_classes: int


SOURCES = {
    "mnist": Source("MNIST", "handwritten digits, 28x28 gray", (1, 28, 28), 60_000, 10_000, 10),
    "fashion-mnist": Source("FashionMNIST", "clothes, 28x28 gray", (1, 28, 28), 60_000, 10_000, 10),
    "cifar10": Source(
        "CIFAR10", "animals and vehicles, 32x32 color", (3, 32, 32), 50_000, 10_000, 10
    ),
    "cifar100": Source(
        "CIFAR100", "a hundred things, 32x32 color", (3, 32, 32), 50_000, 10_000, 100
    ),
}

# Two runs that start together must not download into the same files.
_downloading = threading.Lock()


def load(name: str, root: Path) -> "Data":
    """Load one of SOURCES from root/<name>.npz, which the first call downloads and writes.

    Training images stand in torchvision's order. Raises DataError where the download fails.
    """
    path = root / f"{name}.npz"
    with _downloading:
        if not path.exists():
            try:
                root.mkdir(parents=True, exist_ok=True)
                _save(path, _download(name, root))
            except (ImportError, OSError, RuntimeError) as error:
                raise DataError(
                    f"torchvision.datasets.{SOURCES[name].torchvision_name} could not be "
                    f"downloaded, to be kept as {path}: {error}. Without a network, digits, "
                    "shapes, npz:PATH and folder:PATH work."
                ) from error
    data = npz.load(name, path)
    return replace(data, true_labels=data.labels)


def _download(name: str, root: Path) -> dict[str, np.ndarray]:
    """Both parts in the layout that npz.load reads. torchvision shows its own progress bar."""
    import torchvision  # late: it takes a second, and only a first download needs it

    dataset = getattr(torchvision.datasets, SOURCES[name].torchvision_name)
    arrays = {}
    for part in ("train", "test"):
        # Files that torchvision left in root earlier are used, not downloaded again.
        found = dataset(root, train=part == "train", download=True)
        arrays[f"{part}_images"] = np.asarray(found.data)
        arrays[f"{part}_labels"] = np.asarray(found.targets)
    # MNIST calls its classes "0 - zero" and so on.
    return arrays | {"class_names": np.array([kind.split(" - ")[0] for kind in found.classes])}


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write beside and rename: path is whole or absent. Compressed, it would load slowly."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            np.savez(file, **arrays)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
