"""The only place that opens image files, with limits on their format and size.

Pillow recognizes formats by content, not by name, and some of its readers start other programs
(Ghostscript for EPS) or are little tested against attacks. Only the formats named here are read.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from PIL import Image, features

from engine.errors import DataError, ImageError

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")  # every Pillow reads them
SUFFIXES = {  # of image files, in lower case -> format
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    ".png": "PNG",
    ".webp": "WEBP",
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    ".bmp": "BMP",
    ".gif": "GIF",
    ".avif": "AVIF",
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIF"),
}
EXTENSIONS = {form: suffix for suffix, form in reversed(SUFFIXES.items())} | {"MPO": ".jpg"}
NEEDED = {  # format -> what reads it where this Pillow does not
    "AVIF": "Pillow 11.3 or later",
    "HEIF": "pillow-heif: pip install 'mixnn-lab[heic]'",
}
BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIF", b"heix": "HEIF", b"mif1": "HEIF"}
MAX_PIXELS = 80_000_000  # phones have 50 million; a small file can claim billions
LONGEST_SIDE = 30_000  # pixels
MAX_SCANS = 64  # of a JPEG; progressive ones have about ten, each passes over all pixels
# of a JPEG or PNG: cameras store previews and depth as further frames; animations have more
MAX_FRAMES = 10
JPEG = ("JPEG", "MPO")  # MPO: a JPEG with further frames, as some cameras write
START_OF_SCAN = b"\xff\xda"
CHUNK = 1 << 20  # bytes
BYTES_PER_PIXEL = 16  # while one is decoded: 4, a rotated or converted copy, coefficients


@functools.cache
def formats() -> tuple[str, ...]:
    """FORMATS, AVIF where this Pillow has it, and HEIF where pillow-heif is installed."""
    found = list(FORMATS)
    if features.check("avif"):
        found.append("AVIF")
    try:
        from pillow_heif import register_heif_opener

        register_heif_opener(thumbnails=False)
        found.append("HEIF")
    except ImportError:
        pass
    return tuple(found)


@contextmanager
def open_image(source: str | Path | BinaryIO) -> Iterator[Image.Image]:
    """An image of one of `formats` as Pillow opens it: header checked, not decoded yet.

    Decode it inside the with block; only the first frame or page is read. Raises ImageError on
    another format, on too many pixels or frames, and on a truncated or damaged file, whether
    opening or decoding detects it. A MemoryError passes.
    """
    try:
        with Image.open(source, formats=formats()) as image:
            _check_header(image)
            if image.format in JPEG:
                assert image.fp is not None  # open until the with block ends
                _check_scans(image.fp)
            yield image
    except (DataError, MemoryError):
        raise
    except Image.UnidentifiedImageError:
        raise ImageError(_unknown(source)) from None
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
    if image.format not in ("PNG", *JPEG):  # of others counting them can mean decoding them
        return
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


def _unknown(source: str | Path | BinaryIO) -> str:
    """What is wrong with a file that is of none of the formats."""
    if isinstance(source, str | Path):
        with Path(source).open("rb") as file:
            start = file.read(12)
    else:
        source.seek(0)
        start = source.read(12)
    kind = BRANDS.get(start[8:12], "") if start[4:8] == b"ftyp" else ""
    if kind and kind not in formats():
        return f"is a {kind} image, which needs {NEEDED[kind]}"
    names = formats()
    return f"is no {', '.join(names[:-1])} or {names[-1]} image"
