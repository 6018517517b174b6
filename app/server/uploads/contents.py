"""The content of an upload: arrays of numbers, or images in class folders."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from app.server.uploads.limits import Limits
from app.server.uploads.safe_zip import (
    MB,
    MOST_UNPACKED,
    Archive,
    UploadError,
    parts,
    shown,
)
from engine.data import tables
from engine.data.image_files import left_out
from engine.data.images import BYTES_PER_PIXEL, FORMATS, JPEG, open_image
from engine.data.layout import Arrangement, Layout, arrange
from engine.data.npy import read_header
from engine.data.parts import Notes, check_class_names, plain_class
from engine.data.pixels import converted, is_deep, levels, value_range
from engine.data.tables import Labeled
from engine.errors import DataError, ImageError

MOST_CLASSES = 1000
MOST_SOFT = 50_000_000  # images x classes: training keeps several arrays of this size
LONGEST_PATH = 3000  # bytes, in all; systems allow 4096
MOST_TABLES = 10 * MB  # of tables of labels in one upload, which the server reads to export it
LARGEST_SIDE = 512  # pixels, of images that become PNG: the most that a run can use
STARTS = (b"\x89PNG", b"\xff\xd8\xff")  # of PNG and JPEG files

Path = tuple[str, ...]  # names of folders, and of the file
Report = Callable[[str, int, int], None]  # stage, number done, total number


class Placed(NamedTuple):
    """Where the images of a zip are unpacked to."""

    layout: Layout
    targets: dict[Path, Path]  # path in the zip -> part, class folder, and the path below
    notes: Notes
    found: Arrangement
    labeled: list[Labeled] | None = None  # where the labels are from tables


def check_arrays(archive: Archive, report: Report) -> None:
    """Raise UploadError for arrays of objects, which are pickles, and for false headers."""
    names = set()
    for done, member in enumerate(archive.members):
        report("Arrays unpacked", done, len(archive.members))
        parts(member.filename)
        if member.filename in names:
            raise UploadError(f"it holds {shown(member.filename)} twice")
        names.add(member.filename)
        pieces = archive.chunks(member)
        first = next(pieces, b"")
        stream = io.BytesIO(first)
        try:
            header = read_header(stream)
        except DataError as error:
            raise UploadError(f"{shown(member.filename)} in it {error}") from None
        if header.dtype.hasobject:
            raise UploadError(
                f"{shown(member.filename)} in it holds Python objects (a pickle), which could run "
                "code; allowed are arrays of numbers and texts"
            )
        n_bytes = len(first) - stream.tell() + sum(map(len, pieces))
        if n_bytes != header.n_bytes:
            raise UploadError(
                f"{shown(member.filename)} in it has {n_bytes:,} bytes where its header says "
                f"{header.n_bytes:,}"
            )


def unpack_images(
    archive: Archive, folder: FilePath, limits: Limits, report: Report
) -> tuple[Layout, Notes]:
    """Write the images to folder/train/<class>/ and so on; returns their layout, and notes.

    The zip may contain <class>/... or train/<class>/..., both also inside outer folders, or images
    and a table of their paths and labels. Everything else (other files, archives, files of
    operating systems) is left out, with a note. What is no JPEG or PNG is decoded here, under the
    limits of this process, and stored as PNG, so that the server itself only ever decodes these
    two. Raises UploadError.
    """
    names, guessed = archive.names()
    notes = Notes(guessed)
    members: dict[Path, zipfile.ZipInfo] = {}
    for member, name in zip(archive.members, names, strict=True):
        path = parts(name)
        if path in members:
            raise UploadError(f"it holds {shown('/'.join(path))} twice")
        members[path] = member
    try:
        placed = place(archive, members)
    except DataError as error:
        raise UploadError(f"{error}") from None
    notes.add(placed.notes)
    if not placed.targets:
        raise UploadError(
            " ".join(
                [
                    f"it holds no {', '.join(FORMATS)} file in a class folder; allowed are "
                    "<class>/1.png and train/<class>/1.png, images with a table of their paths "
                    "and labels, or an .npz with train_images and train_labels.",
                    *notes,
                ]
            ).removesuffix(".")
        )
    train = [target[1] for target in placed.targets.values() if target[0] == "train"]
    check_counts(len({plain_class(kind) for kind in train}), len(train))
    n_pixels, room, problems = 0, MOST_UNPACKED, []
    for done, (path, names_on_disk) in enumerate(placed.targets.items()):
        report("Files unpacked", done, len(placed.targets))
        target = folder.joinpath(*names_on_disk)
        try:
            if len(bytes(target)) > LONGEST_PATH:
                raise ImageError("has too long a path")
            own_pixels, n_bytes = _write(archive, members[path], target, limits.memory)
        except ImageError as error:
            target.unlink(missing_ok=True)
            problems.append(("/".join(path), str(error)))
            continue
        n_pixels, room = n_pixels + own_pixels, room - n_bytes
        if n_pixels > limits.pixels:
            raise UploadError(
                f"its images have more than {limits.pixels // 1_000_000:,} million pixels in all, "
                "which is the most allowed; shrink them first (the networks see 64 x 64)"
            )
        if room < 0:
            raise UploadError(
                f"its images that are no JPEG or PNG take more than {MOST_UNPACKED // MB:,} MB as "
                "PNG, which is the most allowed; save them as JPEG first"
            )
    notes += left_out(problems)
    notes.left_out += problems
    if len(problems) == len(placed.targets):
        raise UploadError(" ".join(["it has no readable image.", *notes]).removesuffix("."))
    return placed.layout, notes


def place(
    archive: Archive,
    members: dict[Path, zipfile.ZipInfo],
    read_rows: Callable[[bytes, str], tables.Rows] = tables.read_rows,
) -> Placed:
    """Where the images of a zip are unpacked to, by its folders, or else by a table in it.

    read_rows: reads a table; outside the sandbox that of `parquet`. Raises DataError.
    """
    found = arrange([path for path in members if path], "it")
    if len(found.classes) >= 2:
        targets = {path: (part, *path[found.depth :]) for path, (part, _) in found.images.items()}
        return Placed(found.layout, targets, found.notes(), found)

    room = MOST_TABLES

    def content(path: Path) -> bytes:
        nonlocal room
        room -= members[path].file_size
        if room < 0:
            raise DataError(f"the tables have more than {MOST_TABLES // MB} MB in all")
        return b"".join(archive.chunks(members[path]))

    notes = Notes()
    labeled = tables.in_files([path for path in members if path], content, notes, read_rows)
    if not labeled:
        found.remarks += notes
        targets = {path: (part, *path[found.depth :]) for path, (part, _) in found.images.items()}
        return Placed(found.layout, targets, found.notes(), found)
    for kind in {one.row.label for one in labeled}:
        if "/" in kind or "\\" in kind or kind.startswith("."):
            raise DataError(f"the class name {shown(kind, 40)!r} cannot be the name of a folder")
    check_class_names("it", sorted({one.row.label for one in labeled}))
    notes.add(found.notes_on_files({one.table for one in labeled}))
    targets = {one.path: (one.row.part, one.row.label, *one.path) for one in labeled}
    return Placed(Layout(), targets, notes, found, labeled)


def check_counts(n_classes: int, n: int) -> None:
    """Raise UploadError for more classes, or images times classes, than a run allows."""
    if n_classes > MOST_CLASSES or n * n_classes > MOST_SOFT:
        raise UploadError(
            f"it has {n_classes:,} classes and {n:,} images; allowed are {MOST_CLASSES:,} "
            f"classes, and {MOST_SOFT // 1_000_000} million as the product of both"
        )


def _write(
    archive: Archive, member: zipfile.ZipInfo, path: FilePath, most_memory: int
) -> tuple[int, int]:
    """Unpack an image to path; returns its pixels by its header, and its bytes if made a PNG.

    Raises ImageError where an image that is no JPEG or PNG cannot be decoded.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as out:
        for chunk in archive.chunks(member):
            out.write(chunk)
    try:
        with open_image(path) as image:
            n_pixels = image.width * image.height
            if image.format in ("PNG", *JPEG):
                return n_pixels, 0
            if BYTES_PER_PIXEL * n_pixels > most_memory:
                raise ImageError(
                    f"has {image.width:,} x {image.height:,} pixels, whose decoding takes more "
                    f"than the {most_memory // MB:,} MB allowed"
                )
            png = _as_png(image)
    except ImageError as error:
        with path.open("rb") as file:
            if file.read(4).startswith(STARTS):  # the loader leaves it out and says why
                return 0, 0
        raise error
    path.write_bytes(png)
    return n_pixels, len(png)


def _as_png(image: Image.Image) -> bytes:
    """An image as PNG, upright and with at most LARGEST_SIDE pixels on a side."""
    ImageOps.exif_transpose(image, in_place=True)
    if is_deep(image):
        black, white = levels(*value_range(image))
        sixteen = np.asarray(image).dtype.kind in "iu" and black == 0 and white < 2**16
        image = (
            Image.fromarray(np.asarray(image).astype(np.uint16))
            if sixteen
            else converted(image, "L", black, white)
        )
    elif image.mode not in ("1", "L", "LA", "RGB", "RGBA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if max(image.size) > LARGEST_SIDE and image.mode != "I;16":
        image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()
