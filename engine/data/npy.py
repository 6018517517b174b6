"""Headers of .npy arrays, read without their elements; the files are untrusted."""

import math
import zipfile
import zlib
from typing import IO, NamedTuple

import numpy as np

from engine.errors import DataError

MAX_AXES = 8
DAMAGED = (OSError, EOFError, zipfile.BadZipFile, zlib.error)  # raised by the stream
LONGEST_AXIS = 1 << 48
_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Header(NamedTuple):
    """Shape, order and type of an array."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype

    @property
    def size(self) -> int:
        """Number of elements, without overflow."""
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """Bytes that the elements take in the file and in memory."""
        return self.size * self.dtype.itemsize


def read_header(stream: IO[bytes]) -> Header:
    """The header at the beginning of stream, which is then positioned at the first element.

    Raises DataError, whose message lacks the name of the array, on a header that is invalid or
    impossible; errors of the stream itself pass.
    """
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran_order, dtype = _READERS[version](stream)
    except DAMAGED:
        raise
    except Exception:  # a parser of Python literals fails in many ways on untrusted bytes
        raise DataError("is not an array that NumPy wrote") from None
    if not all(type(n) is int and 0 <= n < LONGEST_AXIS for n in shape):
        raise DataError(f"claims the shape {str(shape)[:80]}, which no array has")
    if len(shape) > MAX_AXES:
        raise DataError(f"has {len(shape)} axes; allowed are {MAX_AXES}")
    return Header(shape, fortran_order, dtype)
