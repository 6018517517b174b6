"""What lies in an upload: arrays that are only numbers, or images in class folders."""

import io
import math
import warnings
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from app.review.archives import Archive, UploadError, parts, shown
from engine.data.base import some
from engine.data.folder import SUFFIXES

MOST_PIXELS = 40_000_000  # of one image file; a small file can claim billions
PART_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val",
              "validation": "val", "test": "test", "testing": "test"}  # fmt: skip

Paths = dict[tuple[str, ...], zipfile.ZipInfo]


@dataclass(frozen=True)
class Layout:
    """How the images lay in the zip, to hand them back in the same way."""

    prefix: str = ""  # folders above the classes or parts, "pets/"
    parts: dict[str, str] | None = None  # "val" -> "validation", its name there; None: classes only


def check_arrays(archive: Archive) -> None:
    """Refuse arrays of objects, which are pickles, and such as are not what their header says."""
    for member in archive.members:
        parts(member.filename)
        pieces = archive.chunks(member)
        first = next(pieces, b"")
        shape, dtype, start = _header(first, member)
        if dtype.hasobject:
            raise UploadError(
                f"{shown(member.filename)} in it holds Python objects (a pickle), which could run "
                "code; allowed are arrays of numbers and texts"
            )
        n_bytes = len(first) - start + sum(map(len, pieces))
        if n_bytes != math.prod(shape) * dtype.itemsize:
            raise UploadError(
                f"{shown(member.filename)} in it has {n_bytes:,} bytes where its header says "
                f"{math.prod(shape) * dtype.itemsize:,}"
            )


def unpack_images(archive: Archive, folder: Path) -> tuple[Layout, list[str]]:
    """Write the images to folder/train/<class>/ and so on; returns their layout, and notes.

    The zip may hold <class>/... or train/<class>/..., both also inside one outer folder. All else
    in it (other files, archives, what operating systems add) is left out, with a note.
    """
    images, n_others = _images(archive)
    images, prefix = _without_outer_folder(images)
    layout = Layout(prefix, _parts_in(images))
    depth = 2 if layout.parts is None else 3
    part_of = {own: part for part, own in (layout.parts or {}).items()}
    placed: Paths = {}
    for path, member in images.items():
        if len(path) == depth and (layout.parts is None or path[0] in part_of):
            target = ("train", *path) if layout.parts is None else (part_of[path[0]], *path[1:])
            placed[target] = member
    if not placed:
        raise UploadError(
            f"it holds no {', '.join(SUFFIXES)} in a class folder; allowed are <class>/1.png and "
            "train/<class>/1.png, or an .npz with train_images and train_labels"
        )
    for target, member in placed.items():
        _write(archive, member, folder.joinpath(*target))
    notes = []
    if n_others:
        notes.append(f"Left out {n_others:,} other file(s): only {', '.join(SUFFIXES)} count.")
    taken = {id(member) for member in placed.values()}
    others = ["/".join(path) for path, member in images.items() if id(member) not in taken]
    if others:
        notes.append(f"Left out {len(others):,} image(s) outside class folders: {some(others, 3)}.")
    return layout, notes


def _images(archive: Archive) -> tuple[Paths, int]:
    """The image files by path, and the number of other files that a person put there."""
    images: Paths = {}
    n_others = 0
    for member in archive.members:
        path = parts(member.filename)
        if any(part.startswith(".") or part == "__MACOSX" for part in path):
            continue
        if not path or PurePosixPath(path[-1]).suffix.lower() not in SUFFIXES:
            n_others += 1
        elif path in images:
            raise UploadError(f"it holds {shown('/'.join(path))} twice")
        else:
            images[path] = member
    return images, n_others


def _without_outer_folder(images: Paths) -> tuple[Paths, str]:
    """Paths without the folders that all of them share above the classes, and these folders."""
    prefix = ""
    while images:
        depth = Counter(map(len, images)).most_common(1)[0][0]
        first = {path[0] for path in images}
        if depth < 3 or len(first) > 1 or next(iter(first)).lower() in PART_NAMES:
            break
        prefix += f"{first.pop()}/"
        images = {path[1:]: member for path, member in images.items()}
    return images, prefix


def _parts_in(images: Paths) -> dict[str, str] | None:
    """Name in the zip of each of train, val and test; None where classes stand at the top."""
    found = {path[0] for path in images if len(path) > 1 and path[0].lower() in PART_NAMES}
    # a class may be called "train" as well: then its images lie right in it
    if any(len(path) < 3 for path in images if path[0] in found):
        return None
    names: dict[str, str] = {}
    for own in sorted(found):
        part = PART_NAMES[own.lower()]
        if part in names:
            raise UploadError(f"it holds both {names[part]!r} and {own!r}; keep one of them")
        names[part] = own
    return names if "train" in names else None


def _write(archive: Archive, member: zipfile.ZipInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as out:
        for chunk in archive.chunks(member):
            out.write(chunk)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                width, height = image.size
    except Image.DecompressionBombError:
        width = height = MOST_PIXELS
    except Exception:  # Pillow's decoders raise errors of many kinds; the loader names the file
        return
    if width * height > MOST_PIXELS:
        raise UploadError(
            f"{shown(member.filename)} in it has more than {MOST_PIXELS // 1_000_000} million "
            "pixels, the most allowed; shrink it first"
        )


def _header(first: bytes, member: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, type and where the numbers begin, of an .npy file that begins with these bytes."""
    stream = io.BytesIO(first)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        shape, _, dtype = readers[np.lib.format.read_magic(stream)](stream)
    except (ValueError, KeyError, SyntaxError, TypeError):
        raise UploadError(f"{shown(member.filename)} in it is no array that NumPy wrote") from None
    return shape, dtype, stream.tell()
