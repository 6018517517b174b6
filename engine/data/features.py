"""Features of one's own: rows of numbers instead of images, as embeddings and tables are."""

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from engine.data import tables
from engine.data.columns import Table, read_table
from engine.data.memory import check_fits
from engine.data.npy import read_header
from engine.data.npz_headers import FEATURES
from engine.data.parts import Arrays, Notes, Part, check_class_names, check_parts, some
from engine.data.tables import Row
from engine.data.values import checked, in_words
from engine.errors import DataError

if TYPE_CHECKING:
    from engine.data.base import Data
    from engine.data.registry import Request

SPARSE = 10  # numbers without a row, beyond which labels are taken as ids of classes
PARTS = ("train", "val", "test")
LABELS = ("labels", "y")
CARD = ("card_columns", "card_cells")  # names (C,) and texts (N, C) of what is shown of a row
ROW = "table_rows"  # (N,) the rows of the table that the training samples are from
MOST_CARD = 24  # characters of a text that is shown


class Rows(NamedTuple):
    """Features by part, with labels, before the checks of every data set."""

    parts: dict[str, Part]  # (N, D) float and (N,) int64
    classes: list[str]
    true_labels: np.ndarray | None
    ids: tuple[str, ...] | None
    table: Table | None  # what is shown of the training rows
    numbers: list[int] | None = None  # the rows of the table that they are, from 0


def load(request: "Request") -> "Data":
    """What `read` reads from the request's path, as a Data; cards or images are shown of its rows.

    Raises DataError.
    """
    from engine.data.base import as_data  # late: torch

    arrays, rows = read(request.name, request.path())
    data = as_data(arrays)
    if rows.table is not None and rows.table.has_cards:
        from engine.data.cards import Cards

        return replace(data, shown=Cards(rows.table, np.arange(data.n)))
    return data


def read(name: str, path: Path) -> tuple[Arrays, Rows]:
    """Rows of numbers with labels, from an .npy, .npz or .parquet file or another table.

    - .npy: (N, D) numbers; labels beside it, in NAME_labels.npy (N,) or in a table NAME.csv, .tsv,
      .jsonl or .parquet, whose row i belongs to row i. So `python -m engine features` writes them.
    - .npz: train_features and train_labels, or features and labels (also embeddings, X, y);
      optional: val_*, test_*, train_true_labels, class_names, ids
    - a table: one column of lists of numbers, or columns of numbers and of few texts; beside them
      label and the other columns of `tables`. Columns of a table are scaled to mean 0 and
      standard deviation 1, texts become one column for each; an empty cell counts as the median.

    Arrays (N, D, 1, 1), checked by `check_parts`. Raises DataError.
    """
    notes, suffix = Notes(), path.suffix.lower()
    if suffix not in (".npy", ".npz", *tables.SUFFIXES) or not path.is_file():
        allowed = f".npy, .npz, {', '.join(tables.SUFFIXES)}"
        raise DataError(f"{path} is no file; features:FILE needs one of {allowed}")
    if suffix == ".npz":
        rows = _from_npz(path, notes)
    elif suffix == ".npy":
        rows = _from_npy(path, notes)
    else:
        check_fits(f"{path}: reading it", 4 * path.stat().st_size)
        rows = _from_table(read_table(path, notes), path, notes)
    widths = {part: values.shape[1] for part, (values, _) in rows.parts.items()}
    if len(set(widths.values())) > 1:
        each = ", ".join(f"{part} {width}" for part, width in widths.items())
        raise DataError(f"{path}: the parts have rows of different lengths: {each}")
    parts = {
        part: (values[:, :, None, None], labels) for part, (values, labels) in rows.parts.items()
    }
    if "train" not in parts:
        raise DataError(" ".join([f"{path} has no row to train on.", *notes]).removesuffix("."))
    arrays = check_parts(
        name,
        parts["train"],
        parts.get("test"),
        rows.classes,
        val=parts.get("val"),
        true_labels=rows.true_labels,
        ids=rows.ids,
        notes=notes,
    )
    return arrays, rows


def labels_key(path: Path) -> str:
    """The name of the array that has the training labels of an .npz of features."""
    with zipfile.ZipFile(path) as file:
        names = {name.removesuffix(".npy").lower(): name for name in file.namelist()}
    return next(names[key] for key in _keys("train", LABELS) if key in names).removesuffix(".npy")


def write_npz(arrays: Arrays, rows: Rows, out: BinaryIO) -> None:
    """Write what `read` has read from a table as an .npz that it reads to the same.

    It names no file: images of rows are not shown. ROW has the rows of the table.
    """
    parts = {
        "train": (arrays.images, arrays.labels),
        "val": (arrays.val_images, arrays.val_labels),
        "test": (arrays.test_images, arrays.test_labels),
    }
    packed: dict[str, Any] = {"class_names": np.array(arrays.classes)}
    for part, (values, labels) in parts.items():
        if values is not None and labels is not None and len(labels):
            packed |= {f"{part}_features": values[:, :, 0, 0], f"{part}_labels": labels}
    if arrays.true_labels is not None:
        packed["train_true_labels"] = arrays.true_labels
    if arrays.ids is not None:
        packed["ids"] = np.array(arrays.ids)
    if rows.numbers is not None:
        packed[ROW] = np.array(rows.numbers)
    if rows.table is not None and rows.table.columns:
        cells = zip(*rows.table.columns.values(), strict=True)
        texts = [[in_words(cell)[:MOST_CARD] for cell in row] for row in cells]
        names = np.array(list(rows.table.columns))
        packed |= dict(zip(CARD, (names, np.array(texts)), strict=True))
    np.savez(out, **packed)


def table_rows(path: Path) -> tuple[Path, list[str], list[int]]:
    """The table of the labels of a file of features, its training samples' ids and rows from 0.

    Raises DataError where the labels are in no table.
    """
    suffix = path.suffix.lower()
    beside = [file for file in labels_beside(path) if file.is_file()] if suffix == ".npy" else []
    table_file = path if suffix in tables.SUFFIXES else next(iter(beside), path)
    if table_file.suffix.lower() not in tables.SUFFIXES:
        raise DataError(f"the labels of {path} are in no table")
    table = read_table(table_file, Notes(), features=False)
    values = np.empty((len(table.rows), 0), np.float32)
    rows = _from_table(table._replace(values=values), table_file, Notes())
    assert rows.numbers is not None
    ids = [str(place) for place in range(len(rows.numbers))] if rows.ids is None else [*rows.ids]
    return table_file, ids, rows.numbers


def labels_beside(path: Path) -> list[Path]:
    """The files that may have the labels of the rows of an .npy file."""
    return [
        path.with_name(f"{path.stem}_labels.npy"),
        *(path.with_suffix(suffix) for suffix in tables.SUFFIXES),
    ]


def read_labels(path: Path) -> tuple[np.ndarray, list[str], tuple[str, ...] | None]:
    """Labels (N,) int64, the names of their classes, and ids where known: .npy or a table.

    Raises DataError.
    """
    if path.suffix.lower() not in (".npy", *tables.SUFFIXES) or not path.is_file():
        raise DataError(f"{path} is no file; labels need one of .npy, {', '.join(tables.SUFFIXES)}")
    if path.suffix.lower() == ".npy":
        with open(path, "rb") as file:
            ((numbers,), classes) = _numbered([_array(file, str(path))], None, str(path))
        return numbers, classes, None
    table = read_table(path, Notes(), features=False)
    rows = [row for row in table.rows if row is not None]
    if len(rows) < len(table.rows):
        row = next(i for i, row in enumerate(table.rows, 1) if row is None)
        raise DataError(f"{path}, row {row} has no label; one label per row is needed")
    classes = tables.class_names([row._replace(part="train") for row in rows], str(path))
    numbers = np.array([classes.index(row.label) for row in rows], dtype=np.int64)
    return numbers, classes, tuple(row.id for row in rows) if table.has_ids else None


def _from_npy(path: Path, notes: Notes) -> Rows:
    beside = next((file for file in labels_beside(path) if file.is_file()), None)
    if beside is None:
        names = some([file.name for file in labels_beside(path)])
        raise DataError(f"{path} has no labels beside it; one of these files is needed: {names}")
    with open(path, "rb") as file:
        values = checked(_array(file, str(path)), str(path))
    if beside.suffix == ".npy":
        with open(beside, "rb") as file:
            given = _array(file, str(beside))
        _same_length(values, given, path, beside)
        ((labels,), classes) = _numbered([given], None, str(beside))
        return Rows({"train": (values, labels)}, classes, None, None, None)
    table = read_table(beside, notes, features=False)
    _same_length(values, table.rows, path, beside)
    return _from_table(table._replace(values=values), beside, notes)


def _same_length(
    values: np.ndarray, labels: Sequence | np.ndarray, path: Path, beside: Path
) -> None:
    if len(values) != len(labels):
        raise DataError(
            f"{path.name} has {len(values):,} rows and {beside.name} {len(labels):,}: one label "
            "per row is needed"
        )


def _from_npz(path: Path, notes: Notes) -> Rows:
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is not an .npz file (numpy.savez writes one)")
    with zipfile.ZipFile(path) as file:
        names = {name.removesuffix(".npy").lower(): name for name in file.namelist()}

        def find(part: str, kinds: Sequence[str]) -> np.ndarray | None:
            for key in _keys(part, kinds):
                if key in names:
                    with file.open(names[key]) as stream:
                        return _array(stream, f"{path}: {key}")
            return None

        found = {part: (find(part, FEATURES), find(part, LABELS)) for part in PARTS}
        true, classes = find("train", ("true_labels",)), find("train", ("class_names",))
        ids = find("train", ("ids",))
        card = [find("train", (key,)) for key in CARD]
    contents = some([name.removesuffix(".npy") for name in names.values()], 10)
    whole: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for part, (values, labels) in found.items():
        if values is not None and labels is not None:
            whole[part] = checked(values, f"{path}: {part} features"), labels.reshape(-1)
            _same_length(values, whole[part][1], path, path)
        elif part == "train" or values is not None or labels is not None:
            kind = "features" if values is None else "labels"
            raise DataError(f"{path} has no {part}_{kind}; it contains {contents or 'nothing'}")
    given = [labels for _, labels in whole.values()]
    n = len(whole["train"][1])
    for name, array in (("true_labels", true), ("ids", ids)):
        if array is not None and array.shape != (n,):
            raise DataError(f"{path}: {name} has shape {array.shape}; allowed is ({n},)")
    texts = None if classes is None else [str(text) for text in classes.ravel().tolist()]
    numbered, kinds = _numbered(given + ([] if true is None else [true]), texts, str(path))
    parts = {
        part: (values, numbered[place]) for place, (part, (values, _)) in enumerate(whole.items())
    }
    return Rows(
        parts,
        kinds,
        None if true is None else numbered[-1],
        None if ids is None else tuple(map(str, ids.tolist())),
        _cards(ids, *card),
    )


def _keys(part: str, kinds: Sequence[str]) -> list[str]:
    """The names that an array of a part may have in an .npz."""
    return [*(f"{part}_{kind}" for kind in kinds), *(kinds if part == "train" else ())]


def _cards(
    ids: np.ndarray | None, names: np.ndarray | None, cells: np.ndarray | None
) -> Table | None:
    """The table of what is shown of rows, as `write_npz` has written it; else None."""
    if names is None or cells is None or cells.ndim != 2 or names.shape != cells.shape[1:]:
        return None
    columns: dict[str, Any] = {str(name): cells[:, place] for place, name in enumerate(names)}
    own = range(len(cells)) if ids is None else ids.tolist()
    rows = [Row(str(name), "", "train", "", None) for name in own]
    return Table(rows, None, ids is not None, [None] * len(rows), columns)


def _from_table(table: Table, path: Path, notes: Notes) -> Rows:
    assert table.values is not None
    rows = [row for row in table.rows if row is not None]
    if not rows:
        raise DataError(" ".join([f"{path} has no row with a label.", *notes]).removesuffix("."))
    classes = tables.class_names(rows, str(path))
    number = {name: place for place, name in enumerate(classes)}
    parts, notes_of = {}, []
    for part in PARTS:
        own = [i for i, row in enumerate(table.rows) if row is not None and row.part == part]
        kept = [i for i in own if table.rows[i].label in number]  # type: ignore[union-attr]
        if len(kept) < len(own):
            notes_of.append(
                f"{path.name}: left out {len(own) - len(kept):,} {part} rows whose classes have no "
                "training row."
            )
        if kept:
            labels = [number[table.rows[i].label] for i in kept]  # type: ignore[union-attr]
            parts[part] = table.values[kept], np.array(labels, dtype=np.int64)
        if part == "train":
            train = kept
    notes += notes_of
    own_rows = [table.rows[i] for i in train]
    true = [number.get(row.true_label or "", -1) for row in own_rows if row is not None]
    return Rows(
        parts,
        classes,
        np.array(true, dtype=np.int64) if true and min(true) >= 0 else None,
        tuple(row.id for row in own_rows if row is not None) if table.has_ids else None,
        table.take(train),
        train,
    )


def _numbered(
    given: Sequence[np.ndarray], classes: list[str] | None, where: str
) -> tuple[list[np.ndarray], list[str]]:
    """Labels as numbers from 0, and the names of the classes; the first array has the training's.

    Whole numbers from 0 are numbers of classes if these are named, or if few have no row.
    """
    whole = []
    for labels in given:
        if labels.ndim != 1 or labels.dtype.kind not in "biufUS":
            raise DataError(
                f"{where}: labels have type {labels.dtype} and shape {labels.shape}; allowed are "
                "whole numbers or texts (N,)"
            )
        if labels.dtype.kind == "f":
            wrong = np.flatnonzero(~(labels == np.round(labels)))  # true for nan
            if len(wrong):
                raise DataError(
                    f"{where}: label {labels[wrong[0]]} in row {wrong[0]}; allowed are whole "
                    "numbers and texts"
                )
            labels = labels.astype(np.int64)
        whole.append(labels.astype(str) if labels.dtype.kind in "US" else labels.astype(np.int64))
    kinds = {labels.dtype.kind for labels in whole}
    if len(kinds) > 1:
        raise DataError(f"{where}: some labels are texts and others numbers; allowed is one kind")
    if classes is not None and kinds == {"i"}:
        return whole, check_class_names(where, classes)
    present = np.unique(whole[0])
    if classes is None and kinds == {"i"} and present[0] >= 0:
        largest = int(present[-1])
        if largest + 1 - len(present) <= max(len(present), SPARSE):
            return whole, [str(number) for number in range(largest + 1)]
    if classes is not None:
        names = check_class_names(where, classes)
        unknown = sorted(set(present.tolist()) - set(classes))
        if unknown:
            raise DataError(f"{where}: class_names lacks {some(unknown)}")
        order = np.argsort(np.array(classes))
        known = np.array(classes)[order]
    else:
        names = check_class_names(where, [str(name) for name in present.tolist()])
        order, known = np.arange(len(present)), present
    numbers = []
    for labels in whole:
        place = np.searchsorted(known, labels).clip(max=len(known) - 1)
        # others get a number beyond, which the checks drop or name
        numbers.append(np.where(known[place] == labels, order[place], len(known)).astype(np.int64))
    return numbers, names


def _array(stream: IO[bytes], where: str) -> np.ndarray:
    """An .npy array without Python objects, if it fits into memory. Raises DataError."""
    try:
        start = stream.tell()
        header = read_header(stream)
        if header.dtype.hasobject:
            raise DataError("is an array of Python objects, not of plain numbers")
        check_fits(f"{where}: reading it", header.n_bytes)
        stream.seek(start)
        return np.lib.format.read_array(stream, allow_pickle=False)
    except MemoryError:
        raise
    except DataError as error:
        text = str(error)
        raise DataError(text if text.startswith(where) else f"{where} {text}") from None
    except Exception as error:  # untrusted bytes: zipfile, zlib and NumPy fail in many ways
        raise DataError(f"{where} is damaged: {str(error) or 'it ends too early'}") from error
