"""One .npz file in the MedMNIST layout: train_images, train_labels, test_images and so on."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.data.base import Data, DataError, assemble, some

PARTS = ("train", "val", "test")
KEYS = [f"{part}_{kind}" for part in PARTS for kind in ("images", "labels")]
KEYS += ["train_true_labels", "class_names"]


def load(name: str, path: Path) -> Data:
    """Read train_images and train_labels; val_*, test_*, train_true_labels, class_names if present.

    Images are (N, H, W), (N, H, W, 1) or (N, H, W, 3), labels (N,) or (N, 1) from 0. Without
    class_names the classes are the numbers 0 to the largest training label. Repairs, each with a
    note: other integer images within 0..255 become uint8; float or bool images within 0..1 are
    scaled to 0..255; whole numbers stored as float become integer labels; those of base.assemble.
    Raises DataError on all else. Object arrays, which could run code, are never opened.
    """
    arrays = _read(path)
    notes: list[str] = []
    parts = {part: _part(path, arrays, part, notes) for part in PARTS}
    if parts["train"] is None:
        raise DataError(f"{path} has no train_images; it holds {some(list(arrays)) or 'nothing'}")
    true_labels = None
    if "train_true_labels" in arrays:
        true_labels = _labels(path, "train_true_labels", arrays["train_true_labels"], notes)
    if "class_names" in arrays:
        classes = arrays["class_names"].astype(str).ravel().tolist()
    else:
        classes = _numbers(path, parts["train"][1], true_labels)
    return assemble(
        name,
        parts["train"],
        parts["test"],
        classes,
        val=parts["val"],
        true_labels=true_labels,
        notes=notes,
    )


def _read(path: Path) -> dict[str, np.ndarray | None]:
    """The arrays in KEYS by name, and None for each array of another name."""
    if not path.is_file():
        raise DataError(f"{path} is not there; npz:PATH needs an existing .npz file")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is not an .npz file (numpy.savez writes one)")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] if key in KEYS else None for key in archive.files}
    except ValueError as error:
        raise DataError(f"{path} holds an array that is not plain numbers: {error}") from error
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}") from error


def _part(
    path: Path, arrays: dict[str, np.ndarray | None], part: str, notes: list[str]
) -> tuple[Tensor, Tensor] | None:
    images, labels = f"{part}_images", f"{part}_labels"
    if images not in arrays and labels not in arrays:
        return None
    for key in (images, labels):
        if key not in arrays:
            raise DataError(f"{path} has no {key}; it holds {some(list(arrays), 10)}")
    return (
        _images(path, images, arrays[images], notes),
        _labels(path, labels, arrays[labels], notes),
    )


def _images(path: Path, key: str, images: np.ndarray, notes: list[str]) -> Tensor:
    """(N, H, W[, 1 or 3]) of any number type -> (N, C, H, W) uint8."""
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape[1:]:
        raise DataError(
            f"{path}: {key} has shape {images.shape}; allowed are (N, H, W), (N, H, W, 1) and "
            "(N, H, W, 3)"
        )
    if images.dtype != np.uint8:
        top = 255 if np.issubdtype(images.dtype, np.integer) else 1
        if images.dtype.kind not in "biuf" or not np.all((images >= 0) & (images <= top)):
            raise DataError(
                f"{path}: {key} is {images.dtype}; allowed are uint8, integers within 0..255 and "
                "floats within 0..1"
            )
        notes.append(f"{key}: {images.dtype} within 0..{top} became uint8 within 0..255.")
        images = images if top == 255 else np.round(images * np.float32(255))
    return torch.from_numpy(images.astype(np.uint8, copy=False)).permute(0, 3, 1, 2).contiguous()


def _labels(path: Path, key: str, labels: np.ndarray, notes: list[str]) -> Tensor:
    """(N,) or (N, 1) whole numbers -> (N,) int64."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(
            f"{path}: {key} has shape {labels.shape}; one label per image is needed, (N,) or (N, 1)"
        )
    if labels.dtype.kind not in "biuf":
        raise DataError(f"{path}: {key} is {labels.dtype}; labels must be integers from 0")
    if labels.dtype.kind == "f":
        wrong = labels[~(labels == np.round(labels)) | ~np.isfinite(labels)]
        if len(wrong):
            raise DataError(f"{path}: {key} holds {wrong[0]}; labels must be integers from 0")
        notes.append(f"{key}: whole numbers stored as {labels.dtype} became integers.")
    return torch.from_numpy(labels.astype(np.int64))


def _numbers(path: Path, labels: Tensor, true_labels: Tensor | None) -> list[str]:
    """Class names "0", "1", ... up to the largest label."""
    known = labels if true_labels is None else torch.cat([labels, true_labels])
    largest = int(known.max()) if len(known) else -1
    if largest > len(labels):  # one more than the rows, for labels that count from 1
        raise DataError(
            f"{path}: train label {largest} with {len(labels)} images; labels must be 0..C-1, and "
            "classes cannot outnumber the images"
        )
    return [str(number) for number in range(largest + 1)]
