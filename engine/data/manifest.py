"""Image files whose labels are in a table: CSV, JSON Lines or Parquet."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.data import image_files, layout, tables
from engine.data.image_files import File, Settings
from engine.data.layout import PARTS, list_files
from engine.data.memory import check_fits
from engine.data.parts import MOST_SHOWN, Arrays, check_parts, shown, some
from engine.data.tables import Row
from engine.errors import DataError

if TYPE_CHECKING:
    from engine.data.base import Data
    from engine.data.registry import Request


def load(request: "Request") -> "Data":
    """What `read` reads from the request's path, as a Data."""
    from engine.data.base import as_data  # late: torch

    settings = Settings(request.image_size, request.image_fit)
    return as_data(read(request.name, request.path(), settings))


def read(name: str, path: Path, settings: Settings = Settings()) -> Arrays:  # noqa: B008 - frozen
    """Read the images that the rows of a table name, with their labels; see `tables`.

    Paths are absolute or start at the table's folder; a file that is the only one of its name there
    is found wherever it is. ids are the column id, or else the paths. Raises DataError.
    """
    if path.suffix.lower() not in tables.SUFFIXES or not path.is_file():
        raise DataError(
            f"{path} is no file; manifest:FILE needs one of {', '.join(tables.SUFFIXES)}"
        )
    check_fits(f"{path}: reading it", 4 * path.stat().st_size, settings.most_memory)
    notes: list[str] = []
    rows = tables.labeled(tables.read_rows(path.read_bytes(), path.name), path.name, notes)
    return arrays(name, rows, _sources(rows, path.parent), path.name, settings, notes)


def annotations(path: Path) -> tuple[tuple[str, ...], dict[str, list[str | None]]]:
    """`tables.annotations` of a table, by the ids of its samples. Raises DataError and OSError."""
    return tables.annotations(tables.read_rows(path.read_bytes(), path.name), path.name)


def arrays(
    name: str,
    rows: Sequence[Row | None],
    sources: Sequence[Path | bytes | None],
    where: str,
    settings: Settings,
    notes: list[str],
) -> Arrays:
    """Decode the sources of rows, in their order in each part; those without one are named."""
    lost = [row.path for row, source in zip(rows, sources, strict=True) if row and source is None]
    if lost:
        notes.append(
            f"{where}: left out {len(lost):,} rows whose file is missing or not the only one of "
            f"its name: {some([shown(path, MOST_SHOWN) for path in lost])}."
        )
    found = [(row, source) for row, source in zip(rows, sources, strict=True) if row and source]
    if not found:
        raise DataError(" ".join([f"{where} has no row with an image.", *notes]).removesuffix("."))
    classes = tables.class_names([row for row, _ in found], where)
    labels = {kind: label for label, kind in enumerate(classes)}
    files = []
    for part in PARTS:
        own = [(row, source) for row, source in found if row.part == part]
        unknown = [shown(row.id, MOST_SHOWN) for row, _ in own if row.label not in labels]
        if unknown:
            notes.append(
                f"{where}: left out {len(unknown):,} {part} rows whose classes have no training "
                f"row: {some(unknown)}."
            )
        files += [
            File(source, row.id, part, labels[row.label], labels.get(row.true_label or "", -1))
            for row, source in own
            if row.label in labels
        ]
    files, images = image_files.decode(files, where, settings, notes)
    train, val, test = (image_files.part(part, files, images) for part in PARTS)
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
            true_labels=true_labels if n_known == len(trained) else None,
            ids=image_files.ids("train", files),
            val_ids=image_files.ids("val", files),
            test_ids=image_files.ids("test", files),
            notes=notes,
        )
    except DataError as error:
        raise DataError(" ".join([f"{error}.", *notes]).removesuffix(".")) from None


def _sources(rows: Sequence[Row | None], folder: Path) -> list[Path | bytes | None]:
    """The image of each row; files are listed only if some are not where their paths say."""
    sources: list[Path | bytes | None] = []
    for row in rows:
        given = None if row is None else row.content or folder / row.path.replace("\\", "/")
        sources.append(given if isinstance(given, bytes) or (given and _is_file(given)) else None)
    if any(row is not None and source is None for row, source in zip(rows, sources, strict=True)):
        files = [path for path in list_files(folder) if layout.is_image(path)]
        for place, path in enumerate(tables.find(rows, files, ())):
            if sources[place] is None and path is not None:
                sources[place] = folder.joinpath(*path)
    return sources


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or has a NUL
        return False
