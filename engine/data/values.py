"""Arrays and tensors of any kind as images or rows of numbers; imports no torch."""

from typing import Any

import numpy as np

from engine.errors import DataError

CHANNELS = (1, 3)
HALF_FROM = 2**28  # numbers from which on float32 becomes float16: 1 GB as float32
LARGEST_HALF = 65_504.0
CHUNK = 2**22  # numbers checked at once


def as_images(part: str, images: Any) -> np.ndarray:
    """Any of the layouts of `from_arrays` -> (N, C, H, W) uint8, or rows (N, D, 1, 1) float.

    part: what they are, for messages. Raises DataError.
    """
    values = as_array(images)
    if values.ndim == 2:
        return np.ascontiguousarray(checked(values, f"{part} rows"))[:, :, None, None]
    if values.ndim == 3:
        values = values[:, None]
    elif values.ndim == 4 and values.shape[1] not in CHANNELS and values.shape[3] in CHANNELS:
        values = values.transpose(0, 3, 1, 2)
    if values.ndim != 4 or values.shape[1] not in CHANNELS or values.dtype.kind not in "biuf":
        raise DataError(
            f"{part} images have type {values.dtype} and shape {as_array(images).shape}: allowed "
            "are numbers (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels"
        )
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    top = 255 if values.dtype.kind in "iu" else 1
    if values.size and not (values.min() >= 0 and values.max() <= top):  # false for nan
        raise DataError(
            f"{part} images are {values.dtype} from {values.min():g} to {values.max():g}: allowed "
            "are integers in 0..255 and floats in [0, 1], without normalization"
        )
    return np.ascontiguousarray(np.round(values * (255 / top)).astype(np.uint8))


def as_array(values: Any) -> np.ndarray:
    """A NumPy array of an array, a list or a tensor on any device."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if "bfloat16" in str(values.dtype) else values
    try:
        return np.asarray(values)
    except ValueError as error:
        raise DataError(f"these values are no array: {error}") from None


def checked(values: np.ndarray, where: str) -> np.ndarray:
    """(N, D) numbers of any kind as float32, or float16 where they are very many.

    Raises DataError, which begins with where, on another shape, and on numbers that are not finite.
    """
    if values.ndim != 2 or values.dtype.kind not in "biuf" or 0 in values.shape:
        raise DataError(
            f"{where} has type {values.dtype} and shape {values.shape}; allowed are numbers (N, D)"
        )
    kind = np.dtype(np.float16 if values.size > HALF_FROM else np.float32)
    out = values if values.dtype == kind else np.empty(values.shape, kind)
    n_rows = max(1, CHUNK // values.shape[1])
    for start in range(0, len(values), n_rows):
        chunk = values[start : start + n_rows]
        finite = np.isfinite(chunk).all(1)
        if not finite.all():
            row = start + int(np.argmin(finite))
            raise DataError(
                f"{where}, row {row} has a number that is not finite (NaN or infinite): remove the "
                "row, or replace the number"
            )
        if out is not values:
            largest = float(np.abs(chunk).max())
            if kind == np.float16 and largest > LARGEST_HALF:
                raise DataError(
                    f"{where} has {largest:g}; {values.size:,} numbers are kept in half precision, "
                    f"up to {LARGEST_HALF:,.0f}: scale them first"
                )
            out[start : start + n_rows] = chunk
    return out


def in_words(value: Any) -> str:
    """A cell as a short text."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)[:200]
