"""Forms that keep the data set as it came: arrays, class folders, tables of paths and labels."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from engine.analysis.exports.bundle import Bundle, matched, path_of
from engine.analysis.exports.sinks import FolderSink, ZipSink
from engine.data import relabeling
from engine.data.parts import Notes
from engine.errors import DataError, StoreError
from engine.files import write_rows

if TYPE_CHECKING:
    from engine.data import Data

COLUMNS = ("path", "label", "split", "id", "given_label")
UNSUITED = "/\\\0"  # in the name of a folder


def npz(bundle: Bundle, out: BinaryIO) -> None:
    """The arrays in the MedMNIST layout: those of the .npz file as it came, with other labels."""
    from engine.data.features import labels_key

    data, final = bundle.data, bundle.final
    path = Path(bundle.run.config.dataset.partition(":")[2]).expanduser()
    if bundle.family == "features" and path.suffix == ".npz" and bundle.run.config.limit is None:
        rows, loaded, key = np.arange(data.n), data.labels.numpy(), labels_key(path)
        arguments = (path, rows, loaded, final.labels, data.classes, out, final.removed)
        relabeling.write_npz(*arguments, key=key)
    elif bundle.family == "npz":
        # in a subset, the names of the samples are their rows in the file
        rows = np.arange(data.n) if data.ids is None else np.array(data.ids, dtype=np.int64)
        loaded = data.labels.numpy()
        relabeling.write_npz(path, rows, loaded, final.labels, data.classes, out, final.removed)
    else:
        new_npz(data, final.labels, ~final.removed, out)


def new_npz(data: "Data", final: np.ndarray, keep: np.ndarray, out: BinaryIO) -> None:
    """Write data in the MedMNIST layout, with the training labels final (N,) where keep (N,).

    Rows of numbers are written as the arrays that `features:` reads. train_ids (of rows: ids) has
    the ids of the training samples, if they have some.
    """
    arrays: dict[str, Any] = {}
    parts = {
        "train": (data.images, final, keep),
        "val": (data.val_images, data.val_labels, slice(None)),
        "test": (data.test_images, data.test_labels, slice(None)),
    }
    chosen: Any
    for part, (images, labels, chosen) in parts.items():
        if images is not None and labels is not None and len(labels):
            if data.is_rows:
                arrays[f"{part}_features"] = images.flatten(1).numpy()[chosen]
            else:
                pixels = images.permute(0, 2, 3, 1).numpy()[chosen]
                arrays[f"{part}_images"] = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
            arrays[f"{part}_labels"] = np.asarray(labels)[chosen]
    arrays["class_names"] = np.array(data.classes)
    if data.ids is not None:
        arrays["ids" if data.is_rows else "train_ids"] = np.array(data.ids)[keep]
    np.savez_compressed(out, **arrays)


def folders(bundle: Bundle, sink: FolderSink | ZipSink) -> None:
    """The image files in class folders; a folder as it came, in which images have moved.

    Removed images are left out. Raises StoreError where a class cannot be the name of a folder.
    """
    if bundle.family == "folder":
        _moved(bundle, sink)
        return
    for kind in bundle.classes:
        if set(kind) & set(UNSUITED) or kind.startswith("."):
            raise StoreError(
                f"the class {kind!r} cannot be the name of a folder: use --as manifest, npz or "
                "huggingface"
            )
    for sample in bundle.samples():
        if sample.label is not None:
            name = sample.name.removeprefix(f"{sample.part}/")
            path = f"{sample.part}/{bundle.classes[sample.label]}/{name}"
            sink.add(path, sample.source or sample.read())


def _moved(bundle: Bundle, sink: FolderSink | ZipSink) -> None:
    """All files of a folder; those whose labels change are in other class folders, or tables."""
    from engine.data.folder import found_in

    assert bundle.listing is not None  # which has checked the folder
    root = Path(bundle.run.config.dataset.partition(":")[2]).expanduser()
    found = found_in(root)
    kinds = changed_classes(bundle, {file.id: file.label for file in bundle.listing.files})
    classes = {tuple(name.split("/")): kind for name, kind in kinds.items()}
    changed = relabeling.changes(found.arrangement, found.labeled, classes)
    relabeling.copy_files(found.paths, changed, lambda own: root.joinpath(*own), sink.add)


def changed_classes(bundle: Bundle, loaded: dict[str, int]) -> dict[str, str | None]:
    """Id -> new class of the training images whose label changes; None if removed.

    loaded: id -> the class as the data set has it.
    """
    listed = bundle.listing.classes if bundle.listing else bundle.classes
    new: dict[str, str | None] = {}
    for row, name in enumerate(bundle.ids):
        kind = bundle.classes[bundle.final.labels[row]]
        if bundle.final.removed[row]:
            new[name] = None
        elif kind != listed[loaded[name]]:
            new[name] = kind
    return new


def manifest(bundle: Bundle, path: Path, temporary: Path) -> None:
    """A table of paths and labels (.csv, .tsv, .jsonl, .parquet), written to temporary.

    That of `manifest:` and of `features:` as it came, in which labels have changed and removed
    rows are missing; else a new one with the COLUMNS, whose paths start at the folder of `path`
    where they can. Raises StoreError for data without image files or a table.
    """
    if bundle.family in ("manifest", "features"):
        changed = _changed_table if bundle.family == "manifest" else _changed_features
        changed(bundle, path, temporary)
        return
    if bundle.listing is None:
        raise StoreError(
            f"{bundle.run.config.dataset} has no image files that a table could name: use --as "
            "folders, huggingface or npz"
        )
    rows = _table_rows(bundle, bundle.root or path.parent)
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        with open(temporary, "w", encoding="utf-8") as file:
            for row in rows:
                values = dict(zip(COLUMNS, row, strict=True))
                file.write(json.dumps(values, ensure_ascii=False) + "\n")
    elif suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet as parquet

        columns = [list(column) for column in zip(*rows, strict=True)]
        parquet.write_table(pyarrow.table(dict(zip(COLUMNS, columns, strict=True))), temporary)
    else:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            write_rows(file, [COLUMNS], delimiter="\t" if suffix == ".tsv" else ",")
            write_rows(file, rows, delimiter="\t" if suffix == ".tsv" else ",")


def _table_rows(bundle: Bundle, folder: Path) -> Iterator[tuple[str, ...]]:
    classes = bundle.classes
    for sample in bundle.samples():
        if sample.label is not None:
            given = classes[sample.given]
            path = path_of(sample, bundle, folder)
            yield path, classes[sample.label], sample.part, sample.id, given


def _changed_table(bundle: Bundle, path: Path, temporary: Path) -> None:
    from engine.data import tables

    source = Path(bundle.run.config.dataset.partition(":")[2]).expanduser()
    _check_same_form(path, source)
    raw = source.read_bytes()
    rows = tables.labeled(tables.read_rows(raw, source.name), source.name, Notes())
    assert bundle.listing is not None  # which has checked the table
    every = tables.label_column(tables.read_rows(raw, source.name)[0]) is None
    train = {number: row for number, row in enumerate(rows) if row and row.part == "train"}
    samples = dict(zip(train, matched([row.id for row in train.values()], bundle.ids), strict=True))
    labels: dict[int, str | None] = {}
    for number, row in enumerate(rows):
        sample = samples.get(number)
        if row is not None and sample is not None and bundle.final.removed[sample]:
            labels[number] = None
        elif row is not None and (every or sample is not None):
            kind = None if sample is None else bundle.classes[bundle.final.labels[sample]]
            labels[number] = kind or row.label
    temporary.write_bytes(tables.changed(raw, source.name, labels))


def _changed_features(bundle: Bundle, path: Path, temporary: Path) -> None:
    from engine.data import features, tables

    source = Path(bundle.run.config.dataset.partition(":")[2]).expanduser()
    try:
        table, ids, numbers = features.table_rows(source)
    except (DataError, OSError) as error:
        raise StoreError(f"{error}: use --as csv or npz") from None
    _check_same_form(path, table)
    if table != source and bundle.final.removed.any():
        raise StoreError(
            f"{table} has a row for each row of {source.name}, so none can be removed: use --as npz"
        )
    samples = matched(ids, bundle.ids)
    labels = {
        number: None
        if bundle.final.removed[sample]
        else bundle.classes[bundle.final.labels[sample]]
        for number, sample in zip(numbers, samples, strict=True)
        if sample is not None
    }
    temporary.write_bytes(tables.changed(table.read_bytes(), table.name, labels))


def _check_same_form(path: Path, table: Path) -> None:
    if path.suffix.lower() != table.suffix.lower():
        raise StoreError(f"{path}: the table keeps its form, so it ends with {table.suffix}")
