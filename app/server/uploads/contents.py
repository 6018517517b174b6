"""The content of an upload: arrays of numbers, or images in class folders."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

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
from engine.data.image_files import left_out
from engine.data.images import BYTES_PER_PIXEL, FORMATS, JPEG, open_image
from engine.data.layout import Layout, arrange
from engine.data.npy import read_header
from engine.data.pixels import converted, is_deep, levels, value_range
from engine.errors import DataError, ImageError

MOST_CLASSES = 1000
MOST_SOFT = 50_000_000  # images x classes: training keeps several arrays of this size
LONGEST_PATH = 3000  # bytes, in all; systems allow 4096
LARGEST_SIDE = 512  # pixels, of images that become PNG: the most that a run can use
STARTS = (b"\x89PNG", b"\xff\xd8\xff")  # of PNG and JPEG files

Report = Callable[[str, int, int], None]  # stage, number done, total number


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
    archive: Archive, folder: Path, limits: Limits, report: Report
) -> tuple[Layout, list[str]]:
    """Write the images to folder/train/<class>/ and so on; returns their layout, and notes.

    The zip may contain <class>/... or train/<class>/..., both also inside outer folders. Everything
    else (other files, archives, files of operating systems) is left out, with a note. What is no
    JPEG or PNG is decoded here, under the limits of this process, and stored as PNG, so that the
    server itself only ever decodes these two. Raises UploadError.
    """
    names, notes = archive.names()
    members: dict[tuple[str, ...], zipfile.ZipInfo] = {}
    for member, name in zip(archive.members, names, strict=True):
        path = parts(name)
        if path in members:
            raise UploadError(f"it holds {shown('/'.join(path))} twice")
        members[path] = member
    try:
        found = arrange([path for path in members if path], "it")
    except DataError as error:
        raise UploadError(f"{error}") from None
    notes += found.notes()
    if not found.images:
        raise UploadError(
            " ".join(
                [
                    f"it holds no {', '.join(FORMATS)} file in a class folder; allowed are "
                    "<class>/1.png and train/<class>/1.png, or an .npz with train_images and "
                    "train_labels.",
                    *notes,
                ]
            ).removesuffix(".")
        )
    n_train = sum(part == "train" for part, _ in found.images.values())
    check_counts(len(found.classes), n_train)
    n_pixels, room, problems = 0, MOST_UNPACKED, []
    for done, (path, (part, _)) in enumerate(found.images.items()):
        report("Files unpacked", done, len(found.images))
        target = folder.joinpath(part, *path[found.depth :])
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
    if len(problems) == len(found.images):
        raise UploadError(" ".join(["it has no readable image.", *notes]).removesuffix("."))
    return found.layout, notes


def check_counts(n_classes: int, n: int) -> None:
    """Raise UploadError for more classes, or images times classes, than a run allows."""
    if n_classes > MOST_CLASSES or n * n_classes > MOST_SOFT:
        raise UploadError(
            f"it has {n_classes:,} classes and {n:,} images; allowed are {MOST_CLASSES:,} "
            f"classes, and {MOST_SOFT // 1_000_000} million as the product of both"
        )


def _write(
    archive: Archive, member: zipfile.ZipInfo, path: Path, most_memory: int
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
