"""Checks of the headers of an .npz file's arrays, before an array is read."""

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from engine.data.npy import Header, read_header
from engine.errors import DataError

KINDS = {"images": "biuf", "labels": "biufUS", "names": "USiu"}  # NumPy's letters
AT_ONCE = 1 << 20  # elements converted together
MAX_CLASSES = 100_000
MAX_NAME_BYTES = 16 << 20
FEATURES = ("features", "embeddings", "x")  # keys of an .npz, in lower case, after train_ or alone


def header(path: Path, file: zipfile.ZipFile, key: str) -> Header:
    """The header of the array key. Raises DataError on damage and on a type not allowed."""
    try:
        with file.open(f"{key}.npy") as stream:
            array = read_header(stream)
    except DataError as error:
        raise DataError(f"{path}: {key} {error}") from None
    except Exception as error:  # untrusted bytes: zipfile and zlib fail in many ways
        raise DataError(f"{path} is damaged: {str(error) or 'it ends too early'}") from error
    kind = array.dtype.kind
    if array.dtype.hasobject:
        raise DataError(f"{path}: {key} is an array of Python objects, not of plain numbers")
    if kind not in KINDS[key.rpartition("_")[2]] or array.dtype.itemsize == 0:
        allowed = {
            "images": "allowed are uint8, integers within 0..255 and floats within 0..1",
            "labels": "labels must be integers from 0, or texts",
            "names": "names must be texts of one character or more",
        }[key.rpartition("_")[2]]
        raise DataError(f"{path}: {key} is {array.dtype}; {allowed}")
    return array


def check_headers(path: Path, headers: dict[str, Header], part: str, contents: str) -> bool:
    """Whether the file has this part. Raises DataError on impossible shapes and unequal lengths.

    contents: the names in the file, for the message.
    """
    keys = images, labels = f"{part}_images", f"{part}_labels"
    if not any(key in headers for key in keys):
        return False
    for key in keys:
        if key not in headers:
            raise DataError(f"{path} has no {key}; it contains {contents}")
    shape = headers[images].shape
    if len(shape) not in (3, 4) or (*shape, 1)[3] not in (1, 3) or 0 in shape[1:]:
        raise DataError(
            f"{path}: {images} has shape {shape}; allowed are (N, H, W), (N, H, W, 1) and "
            f"(N, H, W, 3){_advice(images, shape)}"
        )
    others = [labels] + (["train_true_labels"] if part == "train" else [])
    for key in others:
        if key not in headers:
            continue
        labels_shape = headers[key].shape
        if len(labels_shape) not in (1, 2) or 0 in labels_shape[1:]:
            raise DataError(
                f"{path}: {key} has shape {labels_shape}; one label per image is needed, (N,), "
                "(N, 1) or one-hot (N, C)"
            )
        if labels_shape[0] != shape[0]:
            kind = key.removesuffix("_labels")
            raise DataError(f"{path}: {shape[0]} {kind} images but {labels_shape[0]} {kind} labels")
    if part == "train" and "class_names" in headers:
        _check_names(path, headers["class_names"])
    return True


def _advice(images: str, shape: tuple[int, ...]) -> str:
    """What to do with channels that come first."""
    if len(shape) == 4 and shape[1] in (1, 3):
        return f": save {images}.transpose(0, 2, 3, 1)"
    return ""


def _check_names(path: Path, names: Header) -> None:
    if sum(n != 1 for n in names.shape) > 1 and not (len(names.shape) == 2 and names.shape[1] == 2):
        raise DataError(
            f"{path}: class_names has shape {names.shape}; allowed are names (C,), or numbers and "
            "names (C, 2)"
        )
    if names.size > MAX_CLASSES or names.n_bytes > MAX_NAME_BYTES:
        raise DataError(
            f"{path}: class_names has {names.size:,} names in {names.n_bytes:,} bytes; allowed are "
            f"{MAX_CLASSES:,} names and {MAX_NAME_BYTES:,} bytes"
        )


def peak(key: str, header: Header, image_size: int | None = None) -> int:
    """Bytes that an array needs at most while it is read and converted, with all copies.

    image_size: side in pixels to which images are resized then.
    """
    if key.endswith("_images"):
        unconverted = (
            header.dtype == np.uint8
            and not header.fortran_order
            and (len(header.shape) == 3 or header.shape[3] == 1)
        )
        at_once = AT_ONCE + header.size // max(1, header.shape[0])
        each = 0 if header.dtype == np.uint8 else 4 if header.dtype.kind in "iu" else 24
        n_channels = (*header.shape, 1)[3]
        resized = header.shape[0] * n_channels * image_size**2 if image_size else 0
        return header.n_bytes + (0 if unconverted else header.size + each * at_once) + resized
    if key.endswith("_labels"):
        texts = 4 * header.n_bytes if header.dtype.kind in "US" else 0  # decoded and sorted
        return header.n_bytes + texts + 32 * header.size  # int64, and the search for a wrong one
    return 4 * header.n_bytes + 200 * header.size  # texts, raw and normalized


def are_features(names: Iterable[str]) -> bool:
    """Whether an .npz with arrays of these names has rows of features, and no images."""
    keys = {name.removesuffix(".npy").lower().removeprefix("train_") for name in names}
    return "images" not in keys and not keys.isdisjoint(FEATURES)
