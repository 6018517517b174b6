"""A data set of one's own arrays, or of a torch or Hugging Face data set; and its file.

Such a set is named arrays:FINGERPRINT. A run on it keeps it in a file beside the run folder, named
by the fingerprint, so that the pages find its images.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.config import registry
from engine.data.base import Data, as_data
from engine.data.parts import Part, check_class_names, check_parts
from engine.data.values import as_array, as_images
from engine.errors import DataError, StoreError

if TYPE_CHECKING:
    from engine.data.registry import Request

FAMILY = "arrays:"
FOLDER = "data"  # beside the run folders


def load(request: "Request") -> Data:
    """A data set of your own, by the function that is registered for its name.

    It may return a Data, or the arguments of `from_arrays` as a tuple or dict. Raises DataError.
    """
    part = registry.find("datasets", request.name.partition(":")[0])
    assert part is not None, "engine.data.registry has found it"
    made = registry.function("datasets", part.setting)(
        argument=request.argument,
        root=request.root,
        seed=request.seed,
        image_size=request.image_size,
    )
    if isinstance(made, dict):
        made = from_arrays(**made)
    elif isinstance(made, tuple):
        made = from_arrays(*made)
    if not isinstance(made, Data):
        raise DataError(
            f"data set {request.name!r} returns {type(made).__name__}: allowed are a Data, and the "
            "arguments of from_arrays as a tuple or dict"
        )
    return replace(made, name=request.name)


def from_arrays(
    images: Any,
    labels: Any,
    *,
    classes: Sequence[str] | None = None,
    test: tuple[Any, Any] | None = None,
    val: tuple[Any, Any] | None = None,
    true_labels: Any = None,
    ids: Sequence[str] | None = None,
) -> Data:
    """A data set from arrays or tensors in memory.

    images: (N, H, W), (N, H, W, C) or (N, C, H, W), C 1 or 3; uint8, other integers in 0..255, or
    floats in [0, 1]; or rows of numbers (N, D), such as features. labels: (N,) integers from 0,
    right or wrong. classes: their names, by default the numbers. test, val: images and labels,
    as the first two. true_labels: (N,), where the right labels are known. ids: a name for each
    training image. Raises DataError.

    >>> data = from_arrays(np.zeros((4, 8, 8)), [0, 1, 0, 1], classes=["cat", "dog"])
    >>> data.shape, data.classes
    ((1, 8, 8), ('cat', 'dog'))
    """
    train = _part("train", images, labels)
    true = None if true_labels is None else _labels("true_labels", true_labels)
    if classes is None:
        most = max(
            int(part.max(initial=0)) for part in (train[1], train[1] if true is None else true)
        )
        classes = [str(number) for number in range(most + 1)]
    arrays = check_parts(
        "arrays",
        train,
        None if test is None else _part("test", *test),
        check_class_names("arrays", list(classes)),
        val=None if val is None else _part("val", *val),
        true_labels=true,
        ids=None if ids is None else tuple(map(str, ids)),
    )
    if arrays.ids is not None and len(arrays.ids) != len(arrays.labels):
        raise DataError(f"{len(arrays.ids)} ids: allowed is {len(arrays.labels)}, one per image")
    data = as_data(arrays)
    return replace(data, name=FAMILY + data.fingerprint())


def from_dataset(
    dataset: Any,
    *,
    test: Any = None,
    image: str = "image",
    label: str = "label",
    classes: Sequence[str] | None = None,
    true_labels: Any = None,
) -> Data:
    """A data set from one whose items are (image, label) pairs, as those of torch and torchvision,
    or rows with these columns, as those of Hugging Face.

    dataset, test: with a length and items by number. Images are Pillow images, arrays or tensors
    as for `from_arrays`, all of one size. image, label: names of the columns. classes: by default
    those that the data set names. Raises DataError.
    """
    if classes is None:
        classes = _class_names(dataset, label)
    parts = [None if part is None else _items(part, image, label) for part in (dataset, test)]
    assert parts[0] is not None
    return from_arrays(*parts[0], classes=classes, test=parts[1], true_labels=true_labels)


def store(data: Data, root: Path) -> str:
    """Write a data set into root/data; returns its name for `load`.

    The same set is written once. Raises StoreError.
    """
    path = (root / FOLDER / f"{data.fingerprint()}.npz").resolve()
    arrays = {"train_true_labels": data.true_labels, "class_names": np.array(data.classes)}
    kind = "features" if data.is_rows else "images"
    for part, images, labels in (
        ("train", data.images, data.labels),
        ("val", data.val_images, data.val_labels),
        ("test", data.test_images, data.test_labels),
    ):
        if images is not None and len(images):
            values = images.flatten(1) if data.is_rows else images.permute(0, 2, 3, 1)
            arrays |= {f"{part}_{kind}": values, f"{part}_labels": labels}
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                np.savez(file, **_present(arrays))  # type: ignore[arg-type]  # as in the writer
            os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StoreError(f"the images cannot be written to {path}: {error}") from None
    return f"{'features' if data.is_rows else 'npz'}:{path}"


def _present(arrays: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(values) for name, values in arrays.items() if values is not None}


def _part(part: str, images: Any, labels: Any) -> Part:
    return as_images(part, images), _labels(part, labels)


def _labels(part: str, labels: Any) -> np.ndarray:
    values = as_array(labels)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise DataError(
            f"{part} labels have type {values.dtype} and shape {values.shape}: allowed are whole "
            "numbers (N,)"
        )
    return values.astype(np.int64)


def _items(dataset: Any, image: str, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a data set by its items. Raises DataError."""
    images, labels = [], []
    for number in range(len(dataset)):
        item = dataset[number]
        try:
            pixels, target = (
                (item[image], item[label]) if isinstance(item, dict) else (item[0], item[1])
            )
        except (KeyError, IndexError, TypeError):
            has = ", ".join(item) if isinstance(item, dict) else type(item).__name__
            raise DataError(
                f"item {number} has {has}: allowed are (image, label) and the columns {image!r} "
                f"and {label!r} (arguments image and label)"
            ) from None
        images.append(as_array(pixels))
        labels.append(int(target))
    sizes = {pixels.shape for pixels in images}
    if len(sizes) > 1:
        raise DataError(f"images have the shapes {sorted(sizes)[:5]}: allowed is one size for all")
    return np.stack(images), np.array(labels, dtype=np.int64)


def _class_names(dataset: Any, label: str) -> Sequence[str] | None:
    """The names that torchvision (classes) or Hugging Face (ClassLabel.names) gives."""
    features = getattr(dataset, "features", None)
    if isinstance(features, dict) and label in features:
        return getattr(features[label], "names", None)
    return getattr(dataset, "classes", None)
