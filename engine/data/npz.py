"""One .npz file in the MedMNIST layout: train_images, train_labels, test_images and so on."""

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.data import memory
from engine.data.npz_headers import AT_ONCE, check_headers, header, peak
from engine.data.parts import Arrays, Part, check_class_names, check_parts, some
from engine.errors import DataError

if TYPE_CHECKING:
    from engine.data.base import Data
    from engine.data.registry import Request

PARTS = ("train", "val", "test")
KEYS = [f"{part}_{kind}" for part in PARTS for kind in ("images", "labels")]
KEYS += ["train_true_labels", "class_names"]
LARGEST_LABEL = 2**31 - 1


def load(request: "Request") -> "Data":
    """What `read` reads from the request's path, as a Data."""
    from engine.data.base import as_data  # late: torch

    return as_data(read(request.name, request.path()))


def read(name: str, path: Path, most_memory: int | None = None) -> Arrays:
    """Read train_images and train_labels; val_*, test_*, train_true_labels, class_names if present.

    Images are (N, H, W), (N, H, W, 1) or (N, H, W, 3), labels (N,) or (N, 1) from 0. Without
    class_names the classes are the numbers 0 to the largest training label. Repairs, each with a
    note: other integer images within 0..255 become uint8; float or bool images within 0..1 are
    scaled to 0..255; whole numbers stored as float become integer labels; those of check_parts.
    Types, shapes and memory (most_memory bytes at the peak, None: free memory) are checked by the
    arrays' headers before any array is read. Raises DataError on anything else. Object arrays,
    which could run code, are never opened.
    """
    with _opened(path) as file:
        headers = {key: header(path, file, key) for key in KEYS if f"{key}.npy" in file.NameToInfo}
        contents = some([name.removesuffix(".npy") for name in file.NameToInfo], 10)
        parts = [part for part in PARTS if check_headers(path, headers, part, contents)]
        if "train" not in parts:
            raise DataError(f"{path} has no train_images; it contains {contents or 'nothing'}")
        what = f"{path}: reading {', '.join(headers)}"
        memory.check_fits(what, sum(peak(*item) for item in headers.items()), most_memory)
        notes: list[str] = []
        arrays = {part: _part(path, file, part, notes) for part in parts}
        true_labels = None
        if "train_true_labels" in headers:
            true_labels = _labels(path, file, "train_true_labels", notes)
        if "class_names" in headers:
            classes = _class_names(path, _array(path, file, "class_names"))
        else:
            classes = _numbers(path, arrays["train"][1], true_labels)
    return check_parts(
        name,
        arrays["train"],
        arrays.get("test"),
        classes,
        val=arrays.get("val"),
        true_labels=true_labels,
        notes=notes,
    )


def _opened(path: Path) -> zipfile.ZipFile:
    if not path.is_file():
        raise DataError(f"{path} does not exist; npz:PATH needs an .npz file")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is not an .npz file (numpy.savez writes one)")
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # zipfile fails in many ways on a damaged list of members
        raise DataError(f"{path} is damaged: {str(error) or 'it ends too early'}") from error


def _array(path: Path, file: zipfile.ZipFile, key: str) -> np.ndarray:
    try:
        with file.open(f"{key}.npy") as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    except MemoryError:
        raise
    except Exception as error:  # untrusted bytes: zipfile, zlib and NumPy fail in many ways
        raise DataError(f"{path} is damaged: {str(error) or 'it ends too early'}") from error


def _part(path: Path, file: zipfile.ZipFile, part: str, notes: list[str]) -> Part:
    return (
        _images(path, file, f"{part}_images", notes),
        _labels(path, file, f"{part}_labels", notes),
    )


def _images(path: Path, file: zipfile.ZipFile, key: str, notes: list[str]) -> np.ndarray:
    """(N, H, W[, 1 or 3]) of any number type -> (N, C, H, W) uint8."""
    images = _array(path, file, key)
    if images.ndim == 3:
        images = images[..., None]
    images = images.transpose(0, 3, 1, 2)
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    top = 255 if images.dtype.kind in "iu" else 1
    out = np.empty(images.shape, dtype=np.uint8)
    n_rows = max(1, AT_ONCE // max(1, images[:1].size))
    for start in range(0, len(images), n_rows):
        some_images = images[start : start + n_rows]
        if not np.all((some_images >= 0) & (some_images <= top)):
            raise DataError(
                f"{path}: {key} is {images.dtype}; allowed are uint8, integers within 0..255 and "
                f"floats within 0..1{_range(some_images)}"
            )
        scaled = some_images if top == 255 else np.round(some_images * np.float32(255))
        out[start : start + n_rows] = scaled.astype(np.uint8)
    notes.append(f"{key}: {images.dtype} within 0..{top} became uint8 within 0..255.")
    return out


def _range(images: np.ndarray) -> str:
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        return ", and some of its values are not finite"
    return f", and its values range from {images.min():.6g} to {images.max():.6g}"


def _labels(path: Path, file: zipfile.ZipFile, key: str, notes: list[str]) -> np.ndarray:
    """(N,) or (N, 1) whole numbers -> (N,) int64."""
    labels = _array(path, file, key).reshape(-1)
    if labels.dtype.kind == "f":
        wrong = labels[~(labels == np.round(labels)) | ~np.isfinite(labels)]
        if len(wrong):
            raise DataError(f"{path}: {key} contains {wrong[0]}; labels must be integers from 0")
        notes.append(f"{key}: whole numbers stored as {labels.dtype} became integers.")
    if len(labels) and labels.dtype.kind != "b":
        row = int(labels.argmax() if labels.max().item() > LARGEST_LABEL else labels.argmin())
        if not -LARGEST_LABEL <= labels[row].item() <= LARGEST_LABEL:
            raise DataError(
                f"{path}: {key} contains {labels[row]} in row {row}; labels count from 0, up to "
                f"{LARGEST_LABEL:,} at most"
            )
    return labels.astype(np.int64)


def _class_names(path: Path, names: np.ndarray) -> list[str]:
    """The texts of class_names; bytes (NumPy's type S) are decoded as UTF-8."""
    where = f"{path}: class_names"
    try:
        values = names.ravel().tolist()
        texts = [raw.decode() if isinstance(raw, bytes) else str(raw) for raw in values]
    except (ValueError, SystemError):  # NumPy: a number that is not a character
        raise DataError(f"{where} has bytes that are not UTF-8 text") from None
    return check_class_names(where, texts)


def _numbers(path: Path, labels: np.ndarray, true_labels: np.ndarray | None) -> list[str]:
    """Class names "0", "1", ... up to the largest label."""
    known = labels if true_labels is None else np.concatenate([labels, true_labels])
    largest = int(known.max()) if len(known) else -1
    if largest > len(labels):  # one more than the rows, for labels that count from 1
        raise DataError(
            f"{path}: train label {largest} with {len(labels)} images; labels must be 0..C-1, and "
            "classes cannot outnumber the images"
        )
    return [str(number) for number in range(largest + 1)]
