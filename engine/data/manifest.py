"""Image files whose labels are in a table: CSV, JSON Lines or Parquet."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.data import image_files, layout, tables
from engine.data.image_files import File, Listing, Settings
from engine.data.layout import PARTS, list_files
from engine.data.memory import check_fits
from engine.data.parts import MOST_SHOWN, Arrays, Notes, shown, some
from engine.data.tables import Row
from engine.errors import DataError

if TYPE_CHECKING:
    from engine.data.registry import Request


def read(name: str, path: Path, settings: Settings = Settings()) -> Arrays:  # noqa: B008 - frozen
    """Read the images that the rows of a table name, with their labels; see `listing`."""
    return image_files.arrays(name, listing(path, settings), settings)


def listing_of(request: "Request") -> Listing:
    """The image files of the request's path."""
    return listing(request.path())


def listing(path: Path, settings: Settings = Settings()) -> Listing:  # noqa: B008 - frozen
    """The images that the rows of a table name, with their labels; see `tables`.

    Paths are absolute or start at the table's folder; a file that is the only one of its name there
    is found wherever it is. ids are the column id, or else the paths. Raises DataError.
    """
    if path.suffix.lower() not in tables.SUFFIXES or not path.is_file():
        raise DataError(
            f"{path} is no file; manifest:FILE needs one of {', '.join(tables.SUFFIXES)}"
        )
    check_fits(f"{path}: reading it", 4 * path.stat().st_size, settings.most_memory)
    notes = Notes()
    rows = tables.labeled(tables.read_rows(path.read_bytes(), path.name), path.name, notes)
    return listed(rows, sources(rows, path.parent), path.name, notes)


def annotations(path: Path) -> tuple[tuple[str, ...], dict[str, list[str | None]]]:
    """`tables.annotations` of a table, by the ids of its samples. Raises DataError and OSError."""
    return tables.annotations(tables.read_rows(path.read_bytes(), path.name), path.name)


def listed(
    rows: Sequence[Row | None],
    sources: Sequence[Path | bytes | None],
    where: str,
    notes: Notes,
) -> Listing:
    """The sources of rows, in their order in each part; notes name those without one."""
    lost = [row.path for row, source in zip(rows, sources, strict=True) if row and source is None]
    if lost:
        notes.append(
            f"{where}: left out {len(lost):,} rows whose file is missing or not the only one of "
            f"its name: {some([shown(path, MOST_SHOWN) for path in lost])}."
        )
        notes.leave_out(lost, tables.NO_FILE)
    found = [(row, source) for row, source in zip(rows, sources, strict=True) if row and source]
    if not found:
        raise DataError(" ".join([f"{where} has no row with an image.", *notes]).removesuffix("."))
    classes = tables.class_names([row for row, _ in found], where)
    labels = {kind: label for label, kind in enumerate(classes)}
    files = []
    for part in PARTS:
        own = [(row, source) for row, source in found if row.part == part]
        unknown = [row.id for row, _ in own if row.label not in labels]
        notes.leave_out(unknown, layout.UNKNOWN[0])
        if unknown:
            notes.append(
                f"{where}: left out {len(unknown):,} {part} rows whose classes have no training "
                f"row: {some([shown(name, MOST_SHOWN) for name in unknown])}."
            )
        files += [
            File(source, row.id, part, labels[row.label], labels.get(row.true_label or "", -1))
            for row, source in own
            if row.label in labels
        ]
    return Listing(where, files, classes, notes)


def sources(rows: Sequence[Row | None], folder: Path) -> list[Path | bytes | None]:
    """The image of each row; files are listed only if some are not where their paths say."""
    found: list[Path | bytes | None] = []
    for row in rows:
        given = None if row is None else row.content or folder / row.path.replace("\\", "/")
        found.append(given if isinstance(given, bytes) or (given and _is_file(given)) else None)
    if any(row is not None and source is None for row, source in zip(rows, found, strict=True)):
        files = [path for path in list_files(folder) if layout.is_image(path)]
        for place, path in enumerate(tables.find(rows, files, ())):
            if found[place] is None and path is not None:
                found[place] = folder.joinpath(*path)
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or has a NUL
        return False
