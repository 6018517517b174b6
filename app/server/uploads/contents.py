"""The content of an upload: arrays of numbers, or images in class folders."""

import io
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from app.server.uploads.safe_zip import Archive, UploadError, name_of, parts, shown
from engine.data.folder import PARTS, SUFFIXES
from engine.data.images import open_image
from engine.data.npy import read_header
from engine.data.parts import check_class_names, some
from engine.errors import DataError, ImageError

MOST_CLASSES = 1000
MOST_SOFT = 50_000_000  # images x classes: training keeps several arrays of this size
PART_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val",
              "validation": "val", "test": "test", "testing": "test"}  # fmt: skip

Paths = dict[tuple[str, ...], zipfile.ZipInfo]
Report = Callable[[str, int, int], None]  # stage, number done, total number


@dataclass(frozen=True)
class Layout:
    """The folders of the images in the zip, to export them in the same layout."""

    prefix: str = ""  # folders above the classes or parts, "pets/"
    parts: dict[str, str] | None = None  # "val" -> its name in the zip; None: only classes


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
    archive: Archive, folder: Path, most_pixels: int, report: Report
) -> tuple[Layout, list[str]]:
    """Write the images to folder/train/<class>/ and so on; returns their layout, and notes.

    The zip may contain <class>/... or train/<class>/..., both also inside one outer folder.
    Everything else (other files, archives, files of operating systems) is left out, with a note.
    most_pixels: of all images together, by their headers. Raises UploadError.
    """
    images, n_others = _images(archive)
    images, prefix = _without_outer_folder(images)
    layout = Layout(prefix, _parts_in(images))
    depth = 2 if layout.parts is None else 3
    part_of = {own: part for part, own in (layout.parts or {}).items()}
    chosen: Paths = {}
    for path, member in images.items():
        if len(path) == depth and (layout.parts is None or path[0] in part_of):
            target = ("train", *path) if layout.parts is None else (part_of[path[0]], *path[1:])
            chosen[target] = member
    if not chosen:
        raise UploadError(
            f"it holds no {', '.join(SUFFIXES)} in a class folder; allowed are <class>/1.png and "
            "train/<class>/1.png, or an .npz with train_images and train_labels"
        )
    placed = _with_plain_classes(chosen)
    train = [kind for part, kind, _ in placed if part == "train"]
    check_counts(len(set(train)), len(train))
    n_pixels = 0
    for done, (target, member) in enumerate(placed.items()):
        report("Files unpacked", done, len(placed))
        n_pixels += _write(archive, member, folder.joinpath(*target))
        if n_pixels > most_pixels:
            raise UploadError(
                f"its images have more than {most_pixels // 1_000_000:,} million pixels in all, "
                "which is the most allowed; shrink them first (the networks see 64 x 64)"
            )
    notes = []
    if n_others:
        notes.append(f"Left out {n_others:,} other file(s): only {', '.join(SUFFIXES)} count.")
    taken = {id(member) for member in chosen.values()}
    others = ["/".join(path) for path, member in images.items() if id(member) not in taken]
    if others:
        notes.append(f"Left out {len(others):,} image(s) outside class folders: {some(others, 3)}.")
    return layout, notes


def check_counts(n_classes: int, n: int) -> None:
    """Raise UploadError for more classes, or images times classes, than a run allows."""
    if n_classes > MOST_CLASSES or n * n_classes > MOST_SOFT:
        raise UploadError(
            f"it has {n_classes:,} classes and {n:,} images; allowed are {MOST_CLASSES:,} "
            f"classes, and {MOST_SOFT // 1_000_000} million as the product of both"
        )


def _with_plain_classes(chosen: Paths) -> Paths:
    """The same files, with the class names of the loader, equal in every part."""
    placed: Paths = {}
    for part in PARTS:
        own = sorted({kind for in_part, kind, _ in chosen if in_part == part})
        try:
            plain = dict(zip(own, check_class_names(f"{part}/", own), strict=True))
        except DataError as error:
            raise UploadError(f"{error}") from None
        if dotted := [kind for kind in plain.values() if kind.startswith(".")]:
            raise UploadError(f"the class name {shown(dotted[0])!r} in it begins with a dot")
        for (in_part, kind, file), member in chosen.items():
            if in_part == part:
                placed[part, plain[kind], file] = member
    return placed


def _images(archive: Archive) -> tuple[Paths, int]:
    """The image files by path, and the number of other files, not counting hidden ones."""
    images: Paths = {}
    n_others = 0
    for member in archive.members:
        path = parts(name_of(member))
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
    """Paths without their common folders above the classes, and these folders."""
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
    """Names in the zip of train, val and test; None if the classes are at the top."""
    folders = {path[0] for path in images if len(path) > 1 and path[0].lower() in PART_NAMES}
    # a class may be called "train" as well: then its images are directly in it
    if any(len(path) < 3 for path in images if path[0] in folders):
        return None
    names: dict[str, str] = {}
    for own in sorted(folders):
        part = PART_NAMES[own.lower()]
        if part in names:
            raise UploadError(f"it holds both {names[part]!r} and {own!r}; keep one of them")
        names[part] = own
    return names if "train" in names else None


def _write(archive: Archive, member: zipfile.ZipInfo, path: Path) -> int:
    """Unpack a member to path; returns its number of pixels by its header, 0 for no image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as out:
        for chunk in archive.chunks(member):
            out.write(chunk)
    try:
        with open_image(path) as image:
            return image.width * image.height
    except ImageError:  # the loader leaves it out and says why
        return 0
