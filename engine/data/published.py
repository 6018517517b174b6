"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100: downloaded once by torchvision, then one .npz."""

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.data import npz
from engine.errors import DataError

if TYPE_CHECKING:
    from engine.data.base import Data
    from engine.data.registry import Request


TORCHVISION_NAMES = {
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}

# Two runs that start together must not download into the same files.
_downloading = threading.Lock()


def load(request: "Request") -> "Data":
    """Load one of TORCHVISION_NAMES from root/<name>.npz, which the first call downloads.

    Training images are in torchvision's order. Raises DataError where the download fails.
    """
    from engine.data.base import as_data  # late: torch

    name, root = request.name, request.root
    path = root / f"{name}.npz"
    with _downloading:
        if not path.exists():
            try:
                root.mkdir(parents=True, exist_ok=True)
                _save(path, _download(name, root))
            except (ImportError, OSError, RuntimeError) as error:
                raise DataError(
                    f"torchvision.datasets.{TORCHVISION_NAMES[name]} could not be "
                    f"downloaded, to be kept as {path}: {error}. Without a network, digits, "
                    "shapes, npz:PATH and folder:PATH work."
                ) from error
    data = as_data(npz.read(name, path))
    return replace(data, true_labels=data.labels)


def _download(name: str, root: Path) -> dict[str, np.ndarray]:
    """Both parts in the layout that npz.read reads. torchvision shows its own progress bar."""
    import torchvision  # late: it takes a second, and only a first download needs it

    dataset = getattr(torchvision.datasets, TORCHVISION_NAMES[name])
    arrays = {}
    for part in ("train", "test"):
        # files that torchvision has left in root are used, not downloaded again
        split = dataset(root, train=part == "train", download=True)
        arrays[f"{part}_images"] = np.asarray(split.data)
        arrays[f"{part}_labels"] = np.asarray(split.targets)
    # MNIST calls its classes "0 - zero" and so on.
    return arrays | {"class_names": np.array([kind.split(" - ")[0] for kind in split.classes])}


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a temporary file and rename it, so that path is complete or absent.

    Uncompressed, since it loads faster.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # NumPy's stub
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
