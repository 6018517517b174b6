"""Image files in class folders, train/<class>/*.jpg: decoded and resized to one size."""

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps

from engine.data import memory
from engine.data.images import BYTES_PER_PIXEL, open_image
from engine.data.parts import Arrays, Part, check_class_names, check_parts, plain_class, some
from engine.errors import DataError, ImageError

if TYPE_CHECKING:
    from engine.data.base import Data
    from engine.data.registry import Request

PARTS = ("train", "val", "test")
SUFFIXES = (".jpg", ".jpeg", ".png")
LONGEST = 64  # pixels of the longer side without image_size: what small networks are made for
GRAY = ("1", "L", "LA", "I", "I;16")  # Pillow's modes without color
# Threads are faster from about 200 x 200 pixels on (500 x 500: 1.4 x as fast on two cores). On
# smaller files they wait for each other more than they decode (32 x 32: 2.3 x as slow).
PIXELS_FOR_THREADS = 200 * 200
MAX_THREADS = 8
BYTES_PER_FILE = 2000  # its name, path and place in lists

Size = tuple[int, int]  # (width, height), Pillow's order


class File(NamedTuple):
    """An image file, with what its header says."""

    path: Path
    part: str
    label: int
    size: Size  # upright; (0, 0) where the file cannot be read
    gray: bool


def load(request: "Request") -> "Data":
    """What `read` reads from the request's path, as a Data."""
    from engine.data.base import as_data  # late: torch

    return as_data(read(request.name, request.path(), request.image_size))


def read(
    name: str,
    path: Path,
    image_size: int | None = None,
    *,
    most_memory: int | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Arrays:
    """Read path/train/<class>/*.jpg, .jpeg, .png and, where present, path/val and path/test.

    Classes are the sorted names of the folders in train that contain an image; ids are paths
    relative to path. Images are (N, 1, H, W) uint8 where every file is gray, else (N, 3, H, W),
    upright by their EXIF orientation. Repairs, each with a note: all images are resized to one
    size, image_size squared or the most common size in train, shrunk to 64 pixels on the longer
    side; files that cannot be decoded are skipped and named; class folders without an image, or
    unknown to train, are ignored. most_memory: bytes at the peak, checked by the images' headers
    before one is decoded; None: free memory. report: called with the numbers of decoded and of all
    files.
    Raises DataError where train/ is missing or has no readable image, and where the images would
    not fit into memory.
    """
    notes: list[str] = []
    classes, files = _find(path, notes)
    size = (image_size, image_size) if image_size else _common_size(files)
    images, reasons = _decode_all(path, files, size, most_memory, report)
    left_out = ""
    if broken := [row for row, reason in enumerate(reasons) if reason]:
        names = [str(files[row].path.relative_to(path)) for row in broken]
        left_out = (
            f". Left out {len(broken):,} files that cannot be decoded: {some(names)}. "
            f"{names[0]} {reasons[broken[0]]}"
        )
        notes.append(f"{left_out[2:]}.")
        files, images = _without(broken, files, images)
    n_resized = sum(file.size != size for file in files)
    if n_resized:
        notes.append(
            f"Resized {n_resized:,} of {len(files):,} images to {size[0]} x {size[1]} pixels."
        )
    train, val, test = (_part(part, files, images) for part in PARTS)
    ids = tuple(file.path.relative_to(path).as_posix() for file in files if file.part == "train")
    try:
        if train is None:
            raise DataError(
                f"{path / 'train'} has no readable {'/'.join(SUFFIXES)} in a class folder"
            )
        return check_parts(name, train, test, classes, val=val, ids=ids, notes=notes)
    except DataError as error:
        raise DataError(f"{error}{left_out}") from None


def _find(path: Path, notes: list[str]) -> tuple[list[str], list[File]]:
    """Class names and all image files, sorted by part, class and name."""
    if not (path / "train").is_dir():
        raise DataError(f"{path / 'train'} does not exist; images belong in train/<class>/*.jpg")
    folders = [folder for part in PARTS for folder in sorted((path / part).glob("[!.]*/"))]
    images = {folder: _images_in(folder) for folder in folders}
    own = [f.name for f in folders if f.parent.name == "train" and images[f]]
    classes = check_class_names(f"{path / 'train'}", own)
    labels = {kind: label for label, kind in enumerate(classes)}
    files, ignored = [], []
    for folder, paths in images.items():
        part, kind = folder.parent.name, folder.name
        label = labels.get(plain_class(kind))
        if label is None:
            ignored.append(f"{part}/{kind}")
        else:
            files += [File(file, part, label, *_header(file)) for file in paths]
    if ignored:
        notes.append(f"Ignored {some(ignored)}: train has no image of this class.")
    return classes, files


def _images_in(folder: Path) -> list[Path]:
    paths = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    return sorted(path for path in paths if not path.name.startswith(".") and path.is_file())


def _header(path: Path) -> tuple[Size, bool]:
    """Size and whether gray, without decoding."""
    try:
        with open_image(path) as image:
            # orientations 5 to 8 are rotated by a quarter
            rotated = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            return image.size[::-1] if rotated else image.size, image.mode in GRAY
    except ImageError:
        return (0, 0), True


def _common_size(files: list[File]) -> Size:
    """The most common size in train, shrunk so that its longer side has at most LONGEST pixels."""
    sizes = Counter(file.size for file in files if file.part == "train" and any(file.size))
    width, height = sizes.most_common(1)[0][0] if sizes else (LONGEST, LONGEST)
    scale = min(1, LONGEST / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _decode_all(
    path: Path,
    files: list[File],
    size: Size,
    most_memory: int | None,
    report: Callable[[int, int], None],
) -> tuple[np.ndarray, list[str]]:
    """Images (N, C, H, W) uint8, C 1 where all are gray, and (N,) why one cannot be decoded."""
    mode = "L" if all(file.gray for file in files) else "RGB"
    pixels = [width * height for *_, (width, height), _ in files] or [0]
    one = BYTES_PER_PIXEL * max(pixels)
    n_bytes = len(files) * (len(mode) * size[0] * size[1] + BYTES_PER_FILE)
    memory.check_fits(f"{path}: decoding {len(files):,} images", n_bytes + one, most_memory)
    n_threads = 1
    if np.mean(pixels) > PIXELS_FOR_THREADS:
        spare = (memory.free_memory() if most_memory is None else most_memory) - n_bytes
        n_threads = max(1, min(os.cpu_count() or 1, MAX_THREADS, spare // one))
    images = np.empty((len(files), len(mode), size[1], size[0]), dtype=np.uint8)
    reasons = []
    with ThreadPoolExecutor(n_threads) as pool:
        each = pool.map if n_threads > 1 else map
        for reason in each(partial(_decode, size, mode), files, images):
            reasons.append(reason)
            report(len(reasons), len(files))
    return images, reasons


def _decode(size: Size, mode: str, file: File, out: np.ndarray) -> str:
    """Decode one file into out (C, H, W) uint8; returns the reason of a failure, else ""."""
    try:
        with open_image(file.path) as image:
            image.draft(None, (2 * max(size), 2 * max(size)))  # decodes huge JPEGs at less detail
            ImageOps.exif_transpose(image, in_place=True)
            if image.mode.startswith("I"):  # 16 bits, which convert() would clip at 255
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            image = image.convert(mode)
            if image.size != size:
                image = image.resize(size, Image.Resampling.BILINEAR)
            out[:] = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
        return ""
    except ImageError as error:
        return str(error)


def _without(
    rows: list[int], files: list[File], images: np.ndarray
) -> tuple[list[File], np.ndarray]:
    """All but these rows. Images move up in place, since a copy could double the memory."""
    dropped = set(rows)
    kept = [row for row in range(len(files)) if row not in dropped]
    for to, row in enumerate(kept):
        images[to] = images[row]
    return [files[row] for row in kept], images[: len(kept)]


def _part(part: str, files: list[File], images: np.ndarray) -> Part | None:
    """Images and labels of one part, whose files are contiguous."""
    rows = [row for row, file in enumerate(files) if file.part == part]
    if not rows:
        return None
    labels = np.array([files[row].label for row in rows], dtype=np.int64)
    return images[rows[0] : rows[-1] + 1], labels
