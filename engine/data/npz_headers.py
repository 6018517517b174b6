"""What the headers of an .npz file's arrays must say, checked before an array is read."""

import zipfile
from pathlib import Path

import numpy as np

from engine.data.npy import Header, read_header
from engine.errors import DataError

KINDS = {"images": "biuf", "labels": "biuf", "names": "USiu"}  # NumPy's letters
AT_ONCE = 1 << 20  # elements converted together
MOST_CLASSES = 100_000
MOST_NAME_BYTES = 16 << 20


def header(path: Path, file: zipfile.ZipFile, key: str) -> Header:
    """Of the array key; raises DataError on a type that it cannot have, and on damage."""
    try:
        with file.open(f"{key}.npy") as stream:
            found = read_header(stream)
    except DataError as error:
        raise DataError(f"{path}: {key} {error}") from None
    except Exception as error:  # a stranger's bytes: zipfile and zlib fail in many ways
        raise DataError(f"{path} is damaged: {str(error) or 'it ends too early'}") from error
    kind = found.dtype.kind
    if found.dtype.hasobject:
        raise DataError(f"{path}: {key} is an array that is not plain numbers, but Python objects")
    if kind not in KINDS[key.rpartition("_")[2]] or found.dtype.itemsize == 0:
        allowed = {
            "images": "allowed are uint8, integers within 0..255 and floats within 0..1",
            "labels": "labels must be integers from 0",
            "names": "names must be texts of one character or more",
        }[key.rpartition("_")[2]]
        raise DataError(f"{path}: {key} is {found.dtype}; {allowed}")
    return found


def check_headers(path: Path, headers: dict[str, Header], part: str, held: str) -> bool:
    """Whether the file has this part; refuses shapes that cannot be, and lengths that differ."""
    keys = images, labels = f"{part}_images", f"{part}_labels"
    if not any(key in headers for key in keys):
        return False
    for key in keys:
        if key not in headers:
            raise DataError(f"{path} has no {key}; it holds {held}")
    shape = headers[images].shape
    if len(shape) not in (3, 4) or (*shape, 1)[3] not in (1, 3) or 0 in shape[1:]:
        raise DataError(
            f"{path}: {images} has shape {shape}; allowed are (N, H, W), (N, H, W, 1) and "
            "(N, H, W, 3)"
        )
    others = [labels] + (["train_true_labels"] if part == "train" else [])
    for key in others:
        if key not in headers:
            continue
        found = headers[key].shape
        if len(found) not in (1, 2) or (*found, 1)[1] != 1:
            raise DataError(
                f"{path}: {key} has shape {found}; one label per image is needed, (N,) or (N, 1)"
            )
        if found[0] != shape[0]:
            who = key.removesuffix("_labels")
            raise DataError(f"{path}: {shape[0]} {who} images but {found[0]} {who} labels")
    if part == "train" and "class_names" in headers:
        _check_names(path, headers["class_names"])
    return True


def _check_names(path: Path, names: Header) -> None:
    if sum(n != 1 for n in names.shape) > 1:
        raise DataError(f"{path}: class_names has shape {names.shape}; allowed is (C,)")
    if names.size > MOST_CLASSES or names.n_bytes > MOST_NAME_BYTES:
        raise DataError(
            f"{path}: class_names has {names.size:,} names in {names.n_bytes:,} bytes; allowed are "
            f"{MOST_CLASSES:,} names and {MOST_NAME_BYTES:,} bytes"
        )


def peak(key: str, header: Header) -> int:
    """Bytes that an array takes while it is read and converted: itself and all copies, at most."""
    if key.endswith("_images"):
        as_it_is = (
            header.dtype == np.uint8
            and not header.fortran_order
            and (len(header.shape) == 3 or header.shape[3] == 1)
        )
        at_once = AT_ONCE + header.size // max(1, header.shape[0])
        each = 0 if header.dtype == np.uint8 else 4 if header.dtype.kind in "iu" else 24
        return header.n_bytes + (0 if as_it_is else header.size + each * at_once)
    if key.endswith("_labels"):
        return header.n_bytes + 32 * header.size  # int64, and what finds a wrong one
    return 4 * header.n_bytes + 200 * header.size  # texts, raw and normalized
