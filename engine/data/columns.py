"""Tables whose columns are numbers: which of them are features, and what the others say."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from engine.data import tables
from engine.data.parts import Notes, shown, some
from engine.data.tables import Row, Rows
from engine.data.values import in_words
from engine.errors import DataError

MOST_KINDS = 50  # different texts of a column that becomes features
MOST_SHOWN = 6  # columns on a card
INDEX = ("", "index", "unnamed:_0", "__index_level_0__")  # names of columns that pandas writes
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+(e[+-]?\d+)?\s*", re.IGNORECASE)
RESERVED = {
    *tables.PATH, *tables.ID, *tables.LABEL, *tables.SPLIT, *tables.TRUE_LABEL, "labels",
}  # fmt: skip


class Table(NamedTuple):
    """A table of labels, with the features if it has them; one row per sample."""

    rows: Sequence[Row | None]  # None: without a label
    values: np.ndarray | None  # (N, D) float32
    has_ids: bool
    paths: Sequence[Path | None]  # of the images that the rows stand for
    columns: dict[str, Sequence[Any]]  # what a card shows: cells by name

    @property
    def has_cards(self) -> bool:
        """Whether there is something to show of a row."""
        return bool(self.columns) or any(path is not None for path in self.paths)

    def take(self, places: Sequence[int]) -> "Table":
        """Only these rows."""
        return Table(
            [self.rows[i] for i in places],
            None,
            self.has_ids,
            [self.paths[i] for i in places],
            {name: [cells[i] for i in places] for name, cells in self.columns.items()},
        )


def read_table(path: Path, notes: Notes, *, features: bool = True) -> Table:
    """The rows of a table, and its features unless these are elsewhere. Raises DataError."""
    if path.suffix.lower() == ".parquet":
        columns, labels = _from_parquet(path)
    else:
        rows = tables.read_rows(path.read_bytes(), path.name)
        names = {name: None for row in rows for name in row}
        columns = {name: [row.get(name) for row in rows] for name in names}
        labels = [{n: row.get(n) for n in names if is_reserved(n)} for row in rows]
    if not labels:
        raise DataError(f"{path} has no row")
    if tables.label_column(columns) is None and not any(map(_is_of_annotator, columns)):
        raise DataError(
            f"{path.name} has the columns {some([shown(name, 40) for name in columns], 10)}; the "
            f"one of labels needs one of the names {', '.join(tables.LABEL)}"
        )
    has_ids = any(tables.plain_column(name) in tables.PATH for name in columns)
    if not has_ids:
        labels = [row | {"id": number} for number, row in enumerate(labels)]
    said = tables.labeled(labels, path.name, notes)
    own = {name: cells for name, cells in columns.items() if not is_reserved(name)}
    for name in [name for name, cells in own.items() if _is_index(name, cells)]:
        del own[name]
        notes.append(f"{path.name}: the column {name!r} counts the rows and was not used.")
    values = None
    if features:
        values, own = _features(own, len(said), path.name, notes)
    return Table(
        said,
        values,
        has_ids,
        [_image(row, path.parent) for row in said] if has_ids else [None] * len(said),
        dict(list(own.items())[:MOST_SHOWN]),
    )


def is_reserved(name: str) -> bool:
    """Whether a column of this name describes the sample and its label, and is no feature."""
    return tables.plain_column(name) in RESERVED or _is_of_annotator(name)


def _is_of_annotator(name: str) -> bool:
    plain = tables.plain_column(name)
    return plain == "labels" or tables.ANNOTATOR.fullmatch(plain) is not None


def _is_index(name: str, cells: Sequence[Any]) -> bool:
    """Whether a column only counts the rows, as pandas writes one."""
    if tables.plain_column(name) not in INDEX:
        return False
    numbers = _numbers(cells)
    return numbers is not None and bool((numbers == numbers[0] + np.arange(len(numbers))).all())


def _from_parquet(path: Path) -> tuple[dict[str, Sequence[Any]], Rows]:
    """The columns of a Parquet file, numbers as arrays; and its rows with the reserved columns."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        table = parquet.ParquetFile(path).read(use_threads=False)
        named = [name for name in table.column_names if is_reserved(name)]
        rows = table.select(named).to_pylist() if named else [{}] * len(table)
        rows = tables.with_class_names(rows, (table.schema.metadata or {}).get(b"huggingface"))
        columns = {name: _from_arrow(table[name]) for name in table.column_names}
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} is no Parquet file: {str(error)[:100]}") from None
    return columns, rows


def _from_arrow(column: Any) -> Sequence[Any]:
    """A column of numbers (N,), of lists of equal length (N, D), or any other."""
    from pyarrow import types

    kind = column.type
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        return column.to_numpy().astype(np.float64)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        whole = column.combine_chunks()
        numbers = types.is_integer(kind.value_type) or types.is_floating(kind.value_type)
        if numbers and not whole.null_count:
            flat = whole.flatten()
            if len(whole) and len(flat) % len(whole) == 0:
                lengths = whole.value_lengths().to_numpy() if hasattr(whole, "value_lengths") else 0
                if np.ptp(lengths) == 0:
                    return flat.to_numpy(zero_copy_only=False).reshape(len(whole), -1)
    return column.to_pylist()


def _features(
    columns: dict[str, Sequence[Any]], n: int, where: str, notes: Notes
) -> tuple[np.ndarray, dict[str, Sequence[Any]]]:
    """(N, D) float32, and the columns that mean something to people."""
    lists = [name for name, cells in columns.items() if _as_list(cells[0]) is not None]
    if lists:
        if len(lists) > 1:
            raise DataError(f"{where} has lists in {some(lists)}; allowed is one such column")
        values = _vectors(columns[lists[0]], f"{where}: {shown(lists[0], 40)}")
        return values, {name: cells for name, cells in columns.items() if name != lists[0]}
    parts, n_missing, used = [], 0, {}
    for name, cells in columns.items():
        numbers = _numbers(cells)
        if numbers is None:
            parts.append(_one_hot(cells, name, where))
        else:
            missing = ~np.isfinite(numbers)
            if missing.all():
                notes.append(f"{where}: the column {shown(name, 40)} is empty and was not used.")
                continue
            n_missing += int(missing.sum())
            numbers[missing] = np.median(numbers[~missing])
            parts.append(numbers[:, None])
        used[name] = cells
    if not parts:
        raise DataError(
            f"{where} has no column of features; needed are columns of numbers beside the label"
        )
    if n_missing:
        notes.append(f"{where}: {n_missing:,} empty cells count as the median of their column.")
    values = np.concatenate(parts, axis=1)
    std = values.std(0)
    notes.append(
        f"{where}: {len(used)} column{'' if len(used) == 1 else 's'} became {values.shape[1]} "
        f"feature{'' if values.shape[1] == 1 else 's'} of mean 0 and standard deviation 1."
    )
    scaled = (values - values.mean(0)) / np.where(std > 0, std, 1)
    return scaled.astype(np.float32), used


def _vectors(cells: Sequence[Any], where: str) -> np.ndarray:
    """A column of lists as (N, D) float32. Raises DataError."""
    values: Any = cells
    if not isinstance(values, np.ndarray):
        rows = [_as_list(cell) for cell in cells]
        lengths = sorted({0 if row is None else len(row) for row in rows})
        if len(lengths) > 1:
            raise DataError(
                f"{where} has lists of {some(lengths)} numbers; allowed is one length for all"
            )
        try:
            values = np.array(rows, dtype=np.float32)
        except (TypeError, ValueError):
            raise DataError(f"{where} has lists of others than numbers") from None
    finite = np.isfinite(values).all(1)
    if not finite.all():
        row = int(np.argmin(finite)) + 1
        raise DataError(f"{where}, row {row} has a number that is not finite")
    return np.ascontiguousarray(values, dtype=np.float32)


def _numbers(cells: Sequence[Any]) -> np.ndarray | None:
    """(N,) float64, nan where empty; None where a cell is no number."""
    if isinstance(cells, np.ndarray) and cells.ndim == 1:
        return cells.copy()
    values = np.empty(len(cells))
    for place, cell in enumerate(cells):
        try:
            if isinstance(cell, str) and DECIMAL_COMMA.fullmatch(cell):
                cell = cell.replace(",", ".")
            values[place] = np.nan if cell is None or cell == "" else float(cell)
        except (TypeError, ValueError, OverflowError):
            return None
    return values


def _one_hot(cells: Sequence[Any], name: str, where: str) -> np.ndarray:
    texts = np.array([in_words(cell) for cell in cells])
    kinds = np.unique(texts)
    if len(kinds) > MOST_KINDS:
        raise DataError(
            f"{where}: the column {shown(name, 40)} has {len(kinds):,} different texts; allowed "
            f"are numbers, and up to {MOST_KINDS} texts: remove the column, or call it id"
        )
    return (texts[:, None] == kinds).astype(np.float64)


def _as_list(cell: Any) -> list | None:
    """A cell with a list of numbers, also as the text of a CSV: "[0.1, 0.2]"."""
    if isinstance(cell, str) and cell.startswith("[") and cell.endswith("]"):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            return None
    return list(cell) if isinstance(cell, list | tuple | np.ndarray) else None


def _image(row: Row | None, folder: Path) -> Path | None:
    """The image file that a row names, if it exists."""
    if row is None:
        return None
    try:
        path = folder / row.path.replace("\\", "/")
        return path if path.is_file() else None
    except (OSError, ValueError):  # a name that is too long, or has a NUL
        return None
