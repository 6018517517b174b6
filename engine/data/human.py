"""Labels from human annotators: CIFAR-10N and CIFAR-100N, from the authors' files or ours."""

import pickle
import threading
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import DataError

SOURCE = "https://github.com/UCSC-REAL/cifar-10-100n"
FILES = {  # any one of a data set's files will do
    "cifar10": ("CIFAR-10_human.pt", "cifar10n_labels.npz"),
    "cifar100": ("CIFAR-100_human.pt", "cifar100n_labels.npz"),
}
CLEAN = "clean_label"
SETS = {  # name -> array of the files
    "aggre": "aggre_label",
    "random1": "random_label1",
    "random2": "random_label2",
    "random3": "random_label3",
    "worse": "worse_label",
    "noisy": "noisy_label",
}
# All that a pickled array of numbers consists of, under the names of NumPy before and since 2.0;
# a pickle that needs anything else is refused.
_ARRAY_PARTS: list[Any] = [
    np.ndarray,
    np.dtype,
    *{type(np.dtype(code)) for code in np.typecodes["AllInteger"]},
    *(
        (np.zeros(0).__reduce__()[0], f"numpy.{core}.multiarray._reconstruct")
        for core in ("core", "_core")
    ),
]
SETS_OF = {"cifar10": ("aggre", "random1", "random2", "random3", "worse"), "cifar100": ("noisy",)}
_reading = threading.Lock()  # the classes that torch.load accepts are a process-wide setting


def load(dataset: str, labels: str, root: Path) -> tuple[np.ndarray, np.ndarray]:
    """True labels and human labels, both (N,) int64 in the published order.

    dataset: one of FILES. labels: one of SETS. root: the folder of the data sets. Files are the
    authors' .pt, or an .npz of the same arrays. Pickles are read without running code in them.
    Raises DataError, which names what is missing, where it belongs and where it comes from.
    """
    if dataset not in FILES:
        raise DataError(f"no published human labels of {dataset!r}: allowed are {', '.join(FILES)}")
    paths = [root / name for name in FILES[dataset] if (root / name).is_file()]
    if not paths:
        raise DataError(
            f"no human labels of {dataset}: put {' or '.join(FILES[dataset])} into {root} "
            f"(the authors' files: {SOURCE})"
        )
    contents = []
    for path in paths:
        arrays = read(path)
        if CLEAN in arrays and SETS[labels] in arrays:
            return arrays[CLEAN], arrays[SETS[labels]]
        contents.append(
            f"{path} contains {', '.join(n for n in SETS if SETS[n] in arrays) or 'none'}"
        )
    raise DataError(f"human_labels = {labels!r} with {dataset}: {'; '.join(contents)}")


def available(dataset: str, root: Path) -> bool:
    """Whether root has a file of human labels."""
    return any((root / name).is_file() for name in FILES.get(dataset, ()))


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of integers in a file, (N,) int64 by name. Raises DataError."""
    try:
        content = _from_pickle(path) if path.suffix == ".pt" else _from_npz(path)
    except pickle.UnpicklingError:
        raise DataError(
            f"{path} contains more than arrays of numbers: it was not read, since it could run code"
        ) from None
    except (OSError, EOFError, ValueError, TypeError, RuntimeError, LookupError, AttributeError,
            zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        raise DataError(f"{path} cannot be read: {str(error) or type(error).__name__}") from None
    return {
        name: values.ravel().astype(np.int64)
        for name, values in content.items()
        if isinstance(values, np.ndarray) and values.dtype.kind in "iu"
    }


def _from_npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def _from_pickle(path: Path) -> dict:
    import torch  # late: the names of the sets need no torch

    with _reading, torch.serialization.safe_globals(_ARRAY_PARTS):
        content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise ValueError(f"it contains a {type(content).__name__} and not a dictionary")
    return content
