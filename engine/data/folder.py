"""Image files in class folders, train/<class>/... or <class>/...: decoded to one size."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from engine.data import image_files, layout, manifest, tables
from engine.data.image_files import File, Listing, Settings
from engine.data.images import FORMATS
from engine.data.parts import Arrays, Notes, some
from engine.errors import DataError

if TYPE_CHECKING:
    from engine.data.registry import Request


def read(name: str, path: Path, settings: Settings = Settings()) -> Arrays:  # noqa: B008 - frozen
    """Read the images in path/train/<class>/, val/ and test/, or in path/<class>/; see `found_in`.

    Images are (N, 1, H, W) uint8 where every file is gray, else (N, 3, H, W), see
    `image_files.decode`. Raises DataError where there is no readable image to train on, and where
    the images would not fit into memory.
    """
    return image_files.arrays(name, found_in(path).listing, settings)


def listing_of(request: "Request") -> Listing:
    """The image files of the request's path."""
    return found_in(request.path()).listing


class Found(NamedTuple):
    """What the files of a folder are; paths start at the folder."""

    paths: list[layout.Path]  # of all files, sorted
    arrangement: layout.Arrangement
    labeled: list[tables.Labeled]  # where the labels are from tables
    listing: Listing


def found_in(path: Path) -> Found:
    """The images of a folder, their parts and classes, found by `layout.arrange`, and the rest.

    Without class folders the labels are from tables, as of Hugging Face's imagefolder. ids are
    paths relative to path. Notes count and name every file that is not read. Raises DataError
    where there is no image.
    """
    if path.is_file():
        raise DataError(f"{path} is a file; folder:PATH needs a folder: unpack it first")
    if not path.is_dir():
        raise DataError(f"{path} does not exist; folder:PATH needs a folder of class folders")
    folders: set[tuple[str, ...]] = set()
    paths = sorted(layout.list_files(path, folders.add))
    found = layout.arrange(paths, f"{path}")
    if len(found.classes) < 2:
        notes = Notes()
        labeled = tables.in_files(paths, lambda own: path.joinpath(*own).read_bytes(), notes)
        if labeled:
            return Found(paths, found, labeled, _from_tables(path, found, labeled, notes))
        found.remarks += notes
    notes = found.notes()
    notes += _empty(folders, found)
    labels = {kind: label for label, kind in enumerate(found.classes)}
    files = [
        File(path.joinpath(*own), "/".join(own), part, labels[kind])
        for own, (part, kind) in found.images.items()
    ]
    if not files:
        raise DataError(_nothing(path, found))
    return Found(paths, found, [], Listing(f"{path}", files, found.classes, notes))


def _from_tables(
    path: Path, found: layout.Arrangement, labeled: list[tables.Labeled], notes: Notes
) -> Listing:
    """The images that tables in the folder label."""
    rows = [one.row._replace(id="/".join(one.path)) for one in labeled]
    sources = [path.joinpath(*one.path) for one in labeled]
    where = " and ".join(dict.fromkeys("/".join(one.table) for one in labeled))
    notes.add(found.notes_on_files({one.table for one in labeled}))
    return manifest.listed(rows, sources, where, notes)


def _empty(folders: set[tuple[str, ...]], found: layout.Arrangement) -> list[str]:
    """A note on class folders in which no image was found."""
    n = found.depth + 1
    others = [
        path
        for why, paths in found.left_out.items()
        if why not in (layout.HIDDEN, layout.UNKNOWN)
        for path in paths
    ]
    kinds = {path[:n] for path in others if len(path) > n}
    kinds |= {path for path in folders if len(path) == n and not layout.is_hidden(path)}
    empty = sorted("/".join(path) for path in kinds - {path[:n] for path in found.images})
    return [f"Class folders without an image: {some(empty)}."] if empty else []


def _nothing(path: Path, found: layout.Arrangement) -> str:
    """Why there is no image to train on."""
    message = (
        f"{path} has no {'/'.join(FORMATS)} file in a class folder; images belong in "
        "train/<class>/ or <class>/"
    )
    return " ".join([f"{message}.", *found.notes()]).removesuffix(".")
