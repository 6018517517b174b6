"""Many image files, decoded into one array of one size."""

import io
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import ExifTags, ImageOps

from engine.data import memory, pixels
from engine.data.images import JPEG, open_image
from engine.data.layout import PARTS
from engine.data.parts import MOST_SHOWN, Arrays, Notes, check_parts, shown, some
from engine.data.pixels import Size
from engine.errors import DataError, ImageError

if TYPE_CHECKING:
    from engine.data.base import Data
    from engine.data.registry import Request

# Threads are faster from about 200 x 200 pixels on (500 x 500: 1.4 x as fast on two cores). On
# smaller files they wait for each other more than they decode (32 x 32: 2.3 x as slow).
PIXELS_FOR_THREADS = 200 * 200
MAX_THREADS = 8
BYTES_PER_FILE = 2000  # its name, path and place in lists

Report = Callable[[int, int], None]  # numbers of decoded and of all files


class File(NamedTuple):
    """An image file: where it is, its id, part and class."""

    source: Path | bytes
    id: str
    part: str
    label: int
    true_label: int = -1  # if it is not known


class Listing(NamedTuple):
    """The image files of a data set before they are decoded."""

    where: str  # begins messages
    files: list[File]  # of one part after the other
    classes: list[str]
    notes: Notes  # what was left out


@dataclass(frozen=True)
class Settings:
    """How files become images of one size; image_size and image_fit as in RunConfig."""

    image_size: int | None = None
    image_fit: str = "pad"
    most_memory: int | None = None  # bytes at the peak; None: free memory
    report: Report = lambda done, total: None


class Header(NamedTuple):
    """What the header of an image file says."""

    size: Size = (0, 0)  # upright
    format: str | None = None
    gray: bool = True
    deep: bool = False  # more than 8 bits
    progressive: bool = False
    several: bool = False  # frames or pages
    problem: str = ""  # why it cannot be read


def decode(
    files: Sequence[File], where: str, settings: Settings, notes: Notes
) -> tuple[list[File], np.ndarray]:
    """The files that can be decoded, and their images (N, C, H, W) uint8, C 1 where all are gray.

    Images stand upright by their EXIF orientation and have the size image_size squared, or else
    the common size of the training images; see `pixels`. Notes say what was left out or changed.
    where: begins the message of the DataError that is raised where they do not fit into memory;
    that is checked by the headers before one is decoded. A file that alone takes too much is left
    out.
    """
    headers = [_header(file) for file in files]
    size = _size(files, headers, settings)
    mode = "L" if all(header.gray for header in headers) else "RGB"
    n_bytes = len(files) * (len(mode) * size[0] * size[1] + BYTES_PER_FILE)
    memory.check_fits(f"{where}: decoding {len(files):,} images", n_bytes, settings.most_memory)
    allowed = memory.free_memory() if settings.most_memory is None else settings.most_memory
    spare = allowed - n_bytes
    costs = [
        pixels.memory_to_decode(h.format, h.size, size, progressive=h.progressive) for h in headers
    ]
    headers = [
        header._replace(problem=header.problem or _too_large(header, cost, spare))
        for header, cost in zip(headers, costs, strict=True)
    ]
    readable = [cost for cost, header in zip(costs, headers, strict=True) if not header.problem]
    n_threads = _n_threads(headers, max(readable, default=1), spare)
    with ThreadPoolExecutor(n_threads) as pool:
        each = pool.map if n_threads > 1 else map
        black, white = _levels(files, headers, each)
        images = np.empty((len(files), len(mode), size[1], size[0]), dtype=np.uint8)
        work = partial(_decode, size, settings.image_fit, mode, black, white)
        results: list[tuple[str, bool]] = []
        for result in each(work, files, headers, images):
            results.append(result)
            settings.report(len(results), len(files))
    kept = [row for row, (problem, _) in enumerate(results) if not problem]
    for to, row in enumerate(kept):  # in place: a copy could double the memory
        images[to] = images[row]
    problems = [(files[row].id, why) for row, (why, _) in enumerate(results) if why]
    notes += left_out(problems)
    notes.left_out += problems
    _say_changes([headers[row] for row in kept], size, settings.image_fit, notes)
    if any(headers[row].deep for row in kept):
        notes.append(
            f"Gray images of more than 8 bits: {black:.6g} is black and {white:.6g} white, by the "
            "range of all their values."
        )
    if n := sum(results[row][1] for row in kept):
        notes.append(f"Put a white background behind {_count(n, 'transparent image')}.")
    return [files[row] for row in kept], images[: len(kept)]


def load(request: "Request", listing: Listing) -> "Data":
    """The decoded images of a listing as the data set of a request. Raises DataError."""
    from engine.data.base import as_data  # late: torch

    settings = Settings(request.image_size, request.image_fit)
    return as_data(arrays(request.name, listing, settings))


def arrays(name: str, listing: Listing, settings: Settings) -> Arrays:
    """The decoded images of a listing, checked by `check_parts`.

    True labels are used only if every training image has one. Raises DataError, whose message ends
    with the notes.
    """
    where, _, classes, _ = listing
    notes = Notes(listing.notes, listing.notes.left_out)
    files, images = decode(listing.files, where, settings, notes)
    train, val, test = (_part(part, files, images) for part in PARTS)
    trained = [file for file in files if file.part == "train"]
    true_labels = np.array([file.true_label for file in trained], dtype=np.int64)
    n_known = int((true_labels >= 0).sum())
    if 0 < n_known < len(true_labels):
        notes.append(f"{where}: only {n_known:,} rows have a true label; none is used.")
    try:
        if train is None:
            raise DataError(f"{where} has no readable image to train on")
        return check_parts(
            name,
            train,
            test,
            classes,
            val=val,
            true_labels=true_labels if trained and n_known == len(trained) else None,
            ids=_ids("train", files),
            val_ids=_ids("val", files),
            test_ids=_ids("test", files),
            notes=notes,
        )
    except DataError as error:
        raise DataError(" ".join([f"{error}.", *notes]).removesuffix(".")) from None


def _part(name: str, files: list[File], images: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Images and labels (N,) int64 of one part, whose files are contiguous; None if it has none."""
    rows = [row for row, file in enumerate(files) if file.part == name]
    if not rows:
        return None
    labels = np.array([files[row].label for row in rows], dtype=np.int64)
    return images[rows[0] : rows[-1] + 1], labels


def _ids(name: str, files: list[File]) -> tuple[str, ...]:
    """The ids of one part's files."""
    return tuple(file.id for file in files if file.part == name)


def sizes(paths: Sequence[Path]) -> np.ndarray:
    """Width and height (n, 2) int64 of image files, upright; 0 for those that cannot be read."""
    headers = [_header(File(path, "", "", 0)) for path in paths]
    return np.array([header.size for header in headers], dtype=np.int64).reshape(-1, 2)


def left_out(problems: Sequence[tuple[str, str]]) -> list[str]:
    """A note on files that cannot be decoded, given their ids and reasons; none without any."""
    reasons: dict[str, list[str]] = {}
    for name, why in problems:
        reasons.setdefault(why, []).append(shown(name, MOST_SHOWN))
    words = [
        f"{some(names)} {why}" if len(names) == 1 else f"{some(names)} (each {why})"
        for why, names in reasons.items()
    ]
    what = _count(len(problems), "file")
    return [f"Left out {what} that cannot be decoded: {some(words, 3)}."] if words else []


def _opened_from(file: File) -> Path | io.BytesIO:
    return io.BytesIO(file.source) if isinstance(file.source, bytes) else file.source


def _header(file: File) -> Header:
    """What the header says, without decoding."""
    try:
        with open_image(_opened_from(file)) as image:
            # orientations 5 to 8 are rotated by a quarter; Pillow does that for TIFF by itself
            rotated = (
                image.format != "TIFF" and image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            )
            return Header(
                image.size[::-1] if rotated else image.size,
                image.format,
                pixels.is_gray(image),
                pixels.is_deep(image),
                bool(image.info.get("progressive")),
                image.format not in JPEG and getattr(image, "is_animated", False),
            )
    except ImageError as error:
        return Header(problem=str(error))
    except OSError as error:
        return Header(problem=f"cannot be read: {error.strerror}")


def _size(files: Sequence[File], headers: list[Header], settings: Settings) -> Size:
    if settings.image_size:
        return settings.image_size, settings.image_size
    known = zip(files, headers, strict=True)
    sizes = [h.size for file, h in known if file.part == "train" and any(h.size)]
    return pixels.common_size(sizes, settings.image_fit)


def _too_large(header: Header, cost: int, spare: int) -> str:
    if cost <= spare:
        return ""
    width, height = header.size
    return (
        f"has {width:,} x {height:,} pixels, whose decoding would take {cost / memory.MB:,.0f} MB "
        f"of memory; {max(0, spare) / memory.MB:,.0f} MB are left"
    )


def _n_threads(headers: list[Header], cost: int, spare: int) -> int:
    n_pixels = [header.size[0] * header.size[1] for header in headers] or [0]
    if np.mean(n_pixels) <= PIXELS_FOR_THREADS:
        return 1
    return max(1, min(os.cpu_count() or 1, MAX_THREADS, spare // max(1, cost)))


def _levels(files: Sequence[File], headers: list[Header], each: Callable) -> tuple[float, float]:
    """Black and white of the images of more than 8 bits, by the range of all their values."""
    deep = [
        file
        for file, header in zip(files, headers, strict=True)
        if header.deep and not header.problem
    ]
    ranges = [found for found in each(_range, deep) if found is not None]
    if not ranges:
        return 0.0, 255.0
    return pixels.levels(min(low for low, _ in ranges), max(high for _, high in ranges))


def _range(file: File) -> tuple[float, float] | None:
    try:
        with open_image(_opened_from(file)) as image:
            return pixels.value_range(image)
    except ImageError:  # it is left out later
        return None


def _decode(
    size: Size, fit: str, mode: str, black: float, white: float,
    file: File, header: Header, out: np.ndarray,
) -> tuple[str, bool]:  # fmt: skip
    """Decode one file into out (C, H, W) uint8.

    Returns the reason of a failure, else "", and whether it is transparent.
    """
    if header.problem:
        return header.problem, False
    try:
        with open_image(_opened_from(file)) as image:
            image.draft(None, (2 * max(size), 2 * max(size)))  # decodes huge JPEGs at less detail
            ImageOps.exif_transpose(image, in_place=True)
            transparent = pixels.is_transparent(image)
            flat = pixels.converted(image, mode, black, white)
            flat = pixels.fitted(flat, size, fit)
            out[:] = np.atleast_3d(np.asarray(flat)).transpose(2, 0, 1)
        return "", transparent
    except ImageError as error:
        return str(error), False


def _say_changes(headers: list[Header], size: Size, fit: str, notes: list[str]) -> None:
    """Notes on images that were resized, and on frames that were not read."""
    if n_resized := sum(header.size != size for header in headers):
        note = f"Resized {n_resized:,} of {len(headers):,} images to {size[0]} x {size[1]} pixels"
        others = Counter(pixels.keeps_ratio(header.size, size) for header in headers)[False]
        how = {"pad": "padded with black borders", "crop": "cropped", "stretch": "stretched"}[fit]
        if others:
            note += f"; {others:,} of another aspect ratio were {how}"
        notes.append(f"{note}.")
    if n := sum(header.several for header in headers):
        notes.append(f"Read only the first frame or page of {_count(n, 'image')} with several.")


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
