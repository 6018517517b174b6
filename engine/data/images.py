"""The only place that opens image files, with limits on their format and size.

Pillow recognizes formats by content, not by name, and some of its readers start other programs
(Ghostscript for EPS) or are little tested against attacks. Only the formats named here are read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from PIL import Image

from engine.errors import DataError, ImageError

FORMATS = ("JPEG", "PNG")
MAX_PIXELS = 80_000_000  # phones have 50 million; a small file can claim billions
LONGEST_SIDE = 30_000  # pixels
MAX_SCANS = 64  # of a JPEG; progressive ones have about ten, each passes over all pixels
MAX_FRAMES = 10  # cameras store previews and depth as further frames; animations have more
START_OF_SCAN = b"\xff\xda"
CHUNK = 1 << 20  # bytes
BYTES_PER_PIXEL = 16  # while one is decoded: 4, a rotated or converted copy, coefficients


@contextmanager
def open_image(source: str | Path | BinaryIO) -> Iterator[Image.Image]:
    """An image of one of FORMATS as Pillow opens it: header checked, not decoded yet.

    Decode it inside the with block; only the first frame is read. Raises ImageError on another
    format, on too many pixels or frames, and on a truncated or damaged file, whether opening or
    decoding detects it. A MemoryError passes.
    """
    try:
        with Image.open(source, formats=FORMATS) as image:
            _check_header(image)
            if image.format == "JPEG":
                assert image.fp is not None  # open until the with block ends
                _check_scans(image.fp)
            yield image
    except (DataError, MemoryError):
        raise
    except Image.UnidentifiedImageError:
        raise ImageError(f"is no {' or '.join(FORMATS)} image") from None
    except Image.DecompressionBombError:
        raise ImageError(f"has too many pixels; allowed are {MAX_PIXELS:,}") from None
    except Exception as error:  # Pillow's decoders raise errors of many kinds
        raise ImageError("is truncated or damaged") from error


def _check_header(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS or max(width, height) > LONGEST_SIDE:
        raise ImageError(
            f"has {width:,} x {height:,} pixels; allowed are {MAX_PIXELS:,} in all and "
            f"{LONGEST_SIDE:,} on a side"
        )
    if (n_frames := getattr(image, "n_frames", 1)) > MAX_FRAMES:
        raise ImageError(f"has {n_frames:,} frames; allowed are {MAX_FRAMES}")


def _check_scans(file: IO[bytes]) -> None:
    """Count the scans of a JPEG: inside compressed data the two bytes of a marker do not occur."""
    position, n_scans, last = file.tell(), 0, b""
    file.seek(0)
    while chunk := file.read(CHUNK):
        n_scans += (last + chunk).count(START_OF_SCAN)
        last = chunk[-1:]
    file.seek(position)
    if n_scans > MAX_SCANS:
        raise ImageError(f"has {n_scans:,} scans; allowed are {MAX_SCANS}")
