"""Data sets with other labels: class folders whose files move, tables and .npz files that change.

Whatever does not change is copied byte for byte.
"""

import io
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

import numpy as np

from engine.data import layout, tables
from engine.data.npy import Header, read_header
from engine.data.tables import Labeled

CHUNK = 1 << 20  # bytes copied together

Own = tuple[str, ...]  # a path: names of folders, and of the file


class Changes(NamedTuple):
    """What becomes of the files of a folder or zip. All others stay as they are."""

    paths: dict[Own, Own | None]  # of images that get another path; None: removed
    tables: dict[Own, dict[int, str | None]]  # table -> row -> label; None: removed


def changes(
    found: layout.Arrangement, labeled: Sequence[Labeled], classes: Mapping[Own, str | None]
) -> Changes:
    """What follows from other classes of some images.

    labeled: not empty where the labels are from tables. classes: path of an image -> its new
    class; None removes it.
    """
    removed: dict[Own, Own | None] = {path: None for path, kind in classes.items() if kind is None}
    if not labeled:
        others = {path: kind for path, kind in classes.items() if kind is not None}
        removed.update(layout.moved(found, others))
        return Changes(removed, {})
    rows: dict[Own, dict[int, str | None]] = {}
    for one in labeled:
        if one.path in classes:
            rows[one.table] = {}
    for one in labeled:
        if one.table in rows:  # all rows: a table without a column of labels gets one
            rows[one.table][one.number] = classes.get(one.path, one.row.label)
    return Changes(removed, rows)


def copy_files(
    paths: Sequence[Own],
    changed: Changes,
    content: Callable[[Own], Path | bytes],
    add: Callable[[str, Path | bytes], None],
) -> None:
    """Pass each file on by its new path. content: of a file; add: takes a path and a content."""
    for path in paths:
        target = changed.paths.get(path, path)
        if target is None:
            continue
        raw = content(path)
        if path in changed.tables:
            raw = raw if isinstance(raw, bytes) else raw.read_bytes()
            raw = tables.changed(raw, path[-1], changed.tables[path])
        add("/".join(target), raw)


def write_npz(
    path: Path,
    rows: np.ndarray,
    given: np.ndarray,
    final: np.ndarray,
    classes: Sequence[str],
    out: BinaryIO,
    removed: np.ndarray | None = None,
    key: str = "train_labels",
) -> None:
    """Copy the npz at path to out; only the array `key` changes, to final (n,) in its rows (n,).

    given: (n,) classes as loaded. classes: their names. The labels keep their type, shape
    and numbers or texts, which may be ids of classes, or one-hot. All other arrays are copied byte
    by byte, without the rows removed (n,) bool: of `key`, and of arrays of equal length
    that do not belong to another part.
    """
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w") as target:
        with source.open(f"{key}.npy") as file:
            labels = np.lib.format.read_array(file, allow_pickle=False)
        labels = _relabeled(labels, rows, given, final, classes)
        keep = np.ones(len(labels), dtype=bool)
        if removed is not None:
            keep[rows[removed]] = False
        for member in source.infolist():
            info = zipfile.ZipInfo(member.filename, member.date_time)
            info.compress_type = member.compress_type
            with target.open(info, "w", force_zip64=True) as to, source.open(member) as file:
                if member.filename == f"{key}.npy":
                    np.lib.format.write_array(to, labels[keep], allow_pickle=False)
                elif keep.all() or not _is_of_samples(member.filename, source, len(labels)):
                    shutil.copyfileobj(file, to, CHUNK)
                else:
                    _copy_rows(file, to, keep)


def _relabeled(
    labels: np.ndarray,
    rows: np.ndarray,
    given: np.ndarray,
    final: np.ndarray,
    classes: Sequence[str],
) -> np.ndarray:
    """The labels as they came (N,), (N, 1) or one-hot (N, C), with other classes in rows (n,).

    A class is written as the rows that have it; one without a row by its place or name.
    """
    one_hot = labels.ndim == 2 and labels.shape[1] > 1
    values = (labels.argmax(1) if one_hot else labels.reshape(-1))[rows]
    new = labels.copy()
    if values.dtype.kind in "US":
        names = np.array(classes)
        value_of = names if values.dtype.kind == "U" else np.char.encode(names, "utf-8")
        kind = np.result_type(value_of, values)
        value_of, new = value_of.astype(kind), new.astype(kind)
    else:
        value_of = np.arange(len(classes)).astype(values.dtype)
    value_of[given] = values
    if one_hot:
        new[rows] = np.eye(labels.shape[1], dtype=labels.dtype)[value_of[final]]
    else:
        new.reshape(-1)[rows] = value_of[final]
    return new


def _is_of_samples(name: str, source: zipfile.ZipFile, n: int) -> bool:
    """Whether an array has a row for each of n training samples."""
    if name.startswith(("val_", "test_", "class_names")):
        return False
    with source.open(name) as file:
        return (*read_header(file).shape, 0)[0] == n


def _copy_rows(file: IO[bytes], to: IO[bytes], keep: np.ndarray) -> None:
    """Copy an array without some rows, a few at a time. keep: (N,) bool."""
    header = read_header(file)
    if header.fortran_order:  # rows are not together
        array = np.frombuffer(file.read(), header.dtype).reshape(header.shape, order="F")
        np.lib.format.write_array(to, array[keep], allow_pickle=False)
        return
    kept = Header((int(keep.sum()), *header.shape[1:]), False, header.dtype)
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head,
        {
            "descr": np.lib.format.dtype_to_descr(kept.dtype),
            "fortran_order": False,
            "shape": kept.shape,
        },
    )
    to.write(head.getvalue())
    n_bytes = header.n_bytes // len(keep)  # of a row
    if not n_bytes:
        return
    at_once = max(1, CHUNK // max(1, n_bytes))
    for start in range(0, len(keep), at_once):
        block = np.frombuffer(file.read(n_bytes * len(keep[start : start + at_once])), np.uint8)
        rows = block.reshape(-1, n_bytes)
        to.write(rows[keep[start : start + at_once]].tobytes())
