"""Image files in class folders, train/<class>/*.jpg: decoded and brought to one size."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from engine.data.base import Data, DataError, assemble, some

PARTS = ("train", "val", "test")
SUFFIXES = (".jpg", ".jpeg", ".png")
LONGEST = 64  # pixels of the longer side where no size is asked for: what small networks are for
GRAY = ("1", "L", "LA", "I", "I;16")  # Pillow's modes without color
# Threads gain from about 200 x 200 pixels on (500 x 500: 1.4 x as fast on two cores). On smaller
# files they wait for each other more than they decode (32 x 32: 2.3 x as slow).
PIXELS_FOR_THREADS = 200 * 200

Size = tuple[int, int]  # (width, height), Pillow's order


class File(NamedTuple):
    path: Path
    part: str
    label: int
    size: Size  # upright; (0, 0) where the file cannot be read
    gray: bool


def load(name: str, path: Path, image_size: int | None = None) -> Data:
    """Read path/train/<class>/*.jpg, .jpeg, .png and, where present, path/val and path/test.

    Classes are the sorted names of the folders in train that hold an image; ids are paths relative
    to path. Images are (N, 1, H, W) uint8 where every file is gray, else (N, 3, H, W), upright
    by their EXIF orientation. Repairs, each with a note: all images are resized to one size, either
    image_size squared or the most common size in train, shrunk to 64 pixels on the longer side;
    files that cannot be decoded are left out and named, since whoever cleans data wants to see
    the others all the same; class folders without an image, or unknown to train, are ignored.
    Raises DataError where train/ is missing or holds no readable image.
    """
    notes: list[str] = []
    classes, files = _find(path, notes)
    size = (image_size, image_size) if image_size else _common_size(files)
    images, decoded = _decode_all(files, size)
    if not decoded.all():
        broken = [str(files[row].path.relative_to(path)) for row in np.flatnonzero(~decoded)]
        notes.append(f"Left out {len(broken):,} files that cannot be decoded: {some(broken)}.")
        files, images = [files[row] for row in np.flatnonzero(decoded)], images[decoded]
    n_resized = sum(file.size != size for file in files)
    if n_resized:
        notes.append(
            f"Resized {n_resized:,} of {len(files):,} images to {size[0]} x {size[1]} pixels."
        )
    train, val, test = (_part(part, files, images) for part in PARTS)
    if train is None:
        raise DataError(f"{path / 'train'} has no readable {'/'.join(SUFFIXES)} in a class folder")
    ids = tuple(file.path.relative_to(path).as_posix() for file in files if file.part == "train")
    return assemble(name, train, test, classes, val=val, ids=ids, notes=notes)


def _find(path: Path, notes: list[str]) -> tuple[list[str], list[File]]:
    """Class names and all image files, sorted by part, class and name."""
    if not (path / "train").is_dir():
        raise DataError(f"{path / 'train'} is not there; images belong in train/<class>/*.jpg")
    folders = [folder for part in PARTS for folder in sorted((path / part).glob("[!.]*/"))]
    images = {folder: _images_in(folder) for folder in folders}
    classes = [f.name for f in folders if f.parent.name == "train" and images[f]]
    files, ignored = [], []
    for folder, paths in images.items():
        part, kind = folder.parent.name, folder.name
        if kind in classes:
            files += [File(file, part, classes.index(kind), *_header(file)) for file in paths]
        else:
            ignored.append(f"{part}/{kind}")
    if ignored:
        notes.append(f"Ignored {some(ignored)}: train has no image of this class.")
    return classes, files


def _images_in(folder: Path) -> list[Path]:
    paths = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    return sorted(path for path in paths if not path.name.startswith(".") and path.is_file())


def _header(path: Path) -> tuple[Size, bool]:
    """Size and whether gray, without decoding."""
    try:
        with Image.open(path) as image:
            # Orientations 5 to 8 lie on their side.
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            return image.size[::-1] if turned else image.size, image.mode in GRAY
    except Exception:  # Pillow's decoders raise errors of many kinds
        return (0, 0), True


def _common_size(files: list[File]) -> Size:
    """The most common size in train, shrunk so that its longer side has at most LONGEST pixels."""
    sizes = Counter(file.size for file in files if file.part == "train" and any(file.size))
    width, height = sizes.most_common(1)[0][0] if sizes else (LONGEST, LONGEST)
    scale = min(1, LONGEST / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _decode_all(files: list[File], size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, C, H, W) uint8, C 1 where all are gray, and (N,) bool: could it be decoded."""
    mode = "L" if all(file.gray for file in files) else "RGB"
    images = np.empty((len(files), len(mode), size[1], size[0]), dtype=np.uint8)
    pixels = np.mean([width * height for *_, (width, height), _ in files] or [0])
    with ThreadPoolExecutor() as pool:
        each = pool.map if pixels > PIXELS_FOR_THREADS else map
        decoded = list(each(partial(_decode, size, mode), files, images))
    return images, np.array(decoded, dtype=bool)


def _decode(size: Size, mode: str, file: File, out: np.ndarray) -> bool:
    """Decode one file into out (C, H, W) uint8; False where it cannot be."""
    try:
        with Image.open(file.path) as image:
            image.draft(None, (2 * max(size), 2 * max(size)))  # decodes huge JPEGs at less detail
            ImageOps.exif_transpose(image, in_place=True)
            if image.mode.startswith("I"):  # 16 bits, which convert() would clip at 255
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            image = image.convert(mode)
            if image.size != size:
                image = image.resize(size, Image.Resampling.BILINEAR)
            out[:] = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
        return True
    except Exception:  # as above
        return False


def _part(part: str, files: list[File], images: np.ndarray) -> tuple[Tensor, Tensor] | None:
    """Images and labels of one part, which stands in files without a gap."""
    rows = [row for row, file in enumerate(files) if file.part == part]
    if not rows:
        return None
    labels = torch.tensor([files[row].label for row in rows])
    return torch.from_numpy(images[rows[0] : rows[-1] + 1]), labels
