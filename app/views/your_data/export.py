"""Export of reviewed labels: in the format of the upload (npz or class folders), or as a table."""

import io
import shutil
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from app.server.decisions import Decision
from app.server.uploads import safe_zip
from app.server.uploads.contents import place
from app.server.uploads.paths import FOLDER, INCOMING
from app.server.uploads.registry import of_dataset
from app.server.uploads.safe_zip import MB
from engine.analysis.label_export import format_share
from engine.analysis.label_issues import LabelIssues
from engine.data import Data, tables
from engine.data.layout import Layout, arrange, list_files
from engine.data.layout import moved as moved_paths
from engine.data.tables import Labeled
from engine.errors import StoreError
from engine.files import rows_text
from engine.runs.folder import RunFolder

COLUMNS = (
    "id", "given", "suggested", "probability", "proposed", "decision", "final", "is_label_issue",
    "label_quality", "p_clean", "reason", "soft_label_argmax", "reviewed_at",
)  # fmt: skip
MAX_ZIP_BYTES = 1024 * MB  # of image files in one zip; larger data sets only have the table


class ExportError(StoreError):
    """A data set that cannot be exported in this format; the message says what to do."""


def final_labels(
    issues: LabelIssues, decisions: dict[int, Decision], accept: float | None = None
) -> tuple[np.ndarray, list[str]]:
    """Labels (N,) int64 after review, and how each was decided: keep, change, skip, remove, auto or
    "". Of a sample to remove, which belongs to no class, the label is the given one.

    A sample without a decision keeps its given label (""), unless accept is a number in [0, 1]:
    then it gets the proposed label ("auto") if the probability of that is at least accept.
    """
    final, how = issues.given.copy(), [""] * len(issues.given)
    if accept is not None:
        auto = (issues.proposed != final) & (issues.probability >= accept)
        for sample in np.flatnonzero(auto).tolist():
            final[sample], how[sample] = issues.proposed[sample], "auto"
    for sample, decision in decisions.items():
        final[sample], how[sample] = decision.label, decision.kind
    return final, how


def table(
    classes: list[str],
    ids: list[str],
    issues: LabelIssues,
    decisions: dict[int, Decision],
    accept: float | None = None,
) -> str:
    """One row for every sample, as CSV with the COLUMNS; see engine/files.py."""
    final, how = final_labels(issues, decisions, accept)
    flagged = set(issues.flagged.tolist())
    rows = (
        (
            name,
            classes[issues.given[i]],
            classes[issues.suggested[i]],
            format_share(issues.probability[i]),
            classes[issues.proposed[i]],
            how[i],
            "" if how[i] == "remove" else classes[final[i]],
            str(i in flagged),
            f"{issues.quality[i]:.6f}",
            format_share(issues.p_clean[i]),
            issues.reason(i, classes) if i in flagged else "",
            classes[issues.soft_argmax[i]],
            decisions[i].at if i in decisions else "",
        )
        for i, name in enumerate(ids)
    )
    return rows_text([COLUMNS, *rows])


def data_set(
    run: RunFolder, data: Data, final: np.ndarray, root: Path, removed: np.ndarray | None = None
) -> bytes:
    """The data set of a run with the labels final (N,), as a file in the format of the upload.

    root: folder of the runs and uploads. removed: (N,) bool, samples with the decision "remove",
    which are left out, except where a table lists the images. Raises ExportError if it is too large
    for a zip.
    """
    left_out = np.zeros(len(final), bool) if removed is None else removed
    family, _, text = run.config.dataset.partition(":")
    path, out = Path(text).expanduser(), io.BytesIO()
    if family == "npz":
        # in a subset, the names of the samples are their rows in the file
        rows = np.arange(len(final)) if data.ids is None else np.array(data.ids, dtype=np.int64)
        write_npz(path, rows, data.labels.numpy(), final, out, rows[left_out])
    elif family == "folder":
        upload = of_dataset(run.config.dataset, root)
        given = [data.classes[label] for label in data.labels.tolist()]
        names = [data.classes[label] for label in final.tolist()]
        files = zip(data.ids or (), given, names, strict=True)
        moved = {file: new for file, old, new in files if old != new}
        dropped = {file for file, gone in zip(data.ids or (), left_out, strict=True) if gone}
        original = upload and root / FOLDER / upload.key / INCOMING
        if original and original.is_file():
            write_upload(original, moved, out, dropped=dropped)
        else:
            write_folder(path, upload.layout if upload else None, moved, out, dropped=dropped)
    else:
        new_npz(data, final, out, left_out)
    return out.getvalue()


def new_npz(data: Data, final: np.ndarray, out: BinaryIO, removed: np.ndarray) -> None:
    """Write data to out in the MedMNIST layout, with final (N,) as its training labels.

    removed: (N,) bool, training samples that are left out.
    """
    parts = {
        "train": (data.images[~removed], final[~removed]),
        "test": (data.test_images, data.test_labels.numpy()),
    }
    if data.val_images is not None and data.val_labels is not None:
        parts["val"] = (data.val_images, data.val_labels.numpy())
    arrays: dict[str, Any] = {}
    for part, (images, labels) in parts.items():
        if len(labels):
            pixels = images.permute(0, 2, 3, 1).numpy()
            arrays[f"{part}_images"] = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
            arrays[f"{part}_labels"] = labels
    arrays["class_names"] = np.array(data.classes)
    np.savez_compressed(out, **arrays)


def write_npz(
    path: Path,
    rows: np.ndarray,
    given: np.ndarray,
    final: np.ndarray,
    out: BinaryIO,
    removed: np.ndarray | None = None,
) -> None:
    """Copy the npz at path to out; only train_labels changes, to final (n,) in its rows (n,).

    given: (n,) classes as loaded, in each of which some row is. All other arrays are copied byte by
    byte; the labels keep their type, shape and numbers, which may be ids of classes, or one-hot.
    removed: rows that are left out of all train_ arrays of this length.
    """
    name = "train_labels.npy"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w") as target:
        with source.open(name) as file:
            labels = np.lib.format.read_array(file, allow_pickle=False)
        one_hot = labels.ndim == 2 and labels.shape[1] > 1
        numbers = (labels.argmax(1) if one_hot else labels.reshape(-1))[rows]
        number_of = np.arange(1 + max(given.max(), final.max())).astype(numbers.dtype)
        number_of[given] = numbers  # of a class in the file
        if one_hot:
            labels[rows] = np.eye(labels.shape[1], dtype=labels.dtype)[number_of[final]]
        else:
            labels.reshape(-1)[rows] = number_of[final]
        for member in source.infolist():
            info = zipfile.ZipInfo(member.filename, member.date_time)
            info.compress_type = member.compress_type
            with target.open(info, "w", force_zip64=True) as to:
                if member.filename == name:
                    kept = labels if removed is None else np.delete(labels, removed, axis=0)
                    np.lib.format.write_array(to, kept, allow_pickle=False)
                elif removed is not None and len(removed) and member.filename.startswith("train_"):
                    with source.open(member) as file:
                        array = np.lib.format.read_array(file, allow_pickle=False)
                    if array.shape[:1] == (len(labels),):
                        array = np.delete(array, removed, axis=0)
                    np.lib.format.write_array(to, array, allow_pickle=False)
                else:
                    with source.open(member) as file:
                        shutil.copyfileobj(file, to, MB)


def write_folder(
    base: Path,
    layout: Layout | None,
    moved: dict[str, str],
    out: BinaryIO,
    most: int = MAX_ZIP_BYTES,
    dropped: Collection[str] = (),
) -> None:
    """Write a zip of all files under base to out, in the layout of an older upload if it has one.

    moved: id of an image, its path under base -> its new class. dropped: ids of images that are
    left out. Raises ExportError above `most` bytes.
    """
    paths = sorted(list_files(base))
    check_size(sum(base.joinpath(*path).stat().st_size for path in paths), most)
    found = arrange(paths, f"{base}")
    new = moved_paths(found, {tuple(name.split("/")): kind for name, kind in moved.items()})
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, strict_timestamps=False) as target:
        for path in paths:
            if "/".join(path) in dropped:
                continue
            target.write(base.joinpath(*path), _in_layout("/".join(new.get(path, path)), layout))


def write_upload(
    path: Path,
    moved: dict[str, str],
    out: BinaryIO,
    most: int = MAX_ZIP_BYTES,
    dropped: Collection[str] = (),
) -> None:
    """Copy the uploaded zip at path to out; images get the folders of their new classes.

    moved: id of an image, its path in the unpacked data set -> its new class. dropped: ids of
    images that are left out, unless a table lists them. All other files are copied as they came.
    Raises ExportError above `most` bytes.
    """
    with safe_zip.opened(path) as archive:
        check_size(sum(member.file_size for member in archive.members), most)
        paths = [safe_zip.parts(name) for name in archive.names()[0]]
        placed = place(archive, dict(zip(paths, archive.members, strict=True)))
        by_id = {"/".join(target): path for path, target in placed.targets.items()}
        classes = {by_id[name]: kind for name, kind in moved.items()}
        labels = _labels_of_tables(placed.labeled or [], classes)
        new = {} if placed.labeled else moved_paths(placed.found, classes)
        with zipfile.ZipFile(out, "w") as target:
            gone = set() if placed.labeled else {by_id[name] for name in dropped}
            for member, own in zip(archive.members, paths, strict=True):
                if own in gone:
                    continue
                info = zipfile.ZipInfo("/".join(new.get(own, own)), member.date_time)
                info.compress_type = member.compress_type
                with target.open(info, "w", force_zip64=True) as to:
                    if own in labels:
                        raw = b"".join(archive.chunks(member))
                        to.write(tables.changed(raw, own[-1], labels[own]))
                    else:
                        for chunk in archive.chunks(member):
                            to.write(chunk)


def _labels_of_tables(
    labeled: list[Labeled], classes: dict[tuple[str, ...], str]
) -> dict[tuple[str, ...], dict[int, str]]:
    """The labels of the rows of each table of which some change: row -> label.

    A table without a column of labels gets one: then they are those of all rows.
    """
    labels: dict[tuple[str, ...], dict[int, str]] = {}
    for one in labeled:
        if one.path in classes:
            labels[one.table] = {}
    for one in labeled:
        if one.table in labels:
            labels[one.table][one.number] = classes.get(one.path, one.row.label)
    return labels


def check_size(n_bytes: int, most: int) -> None:
    """Raise ExportError where files take more than most bytes."""
    if n_bytes > most:
        raise ExportError(
            f"the files take {n_bytes / MB:,.0f} MB, and a zip may contain {most // MB:,}: use the "
            "table, which lists the class of each file"
        )


def _in_layout(path: str, layout: Layout | None) -> str:
    """A file's path in an older upload, of which only the images were kept."""
    if layout is None:
        return path
    part, _, rest = path.partition("/")
    if layout.parts is None:
        return layout.prefix + rest
    return f"{layout.prefix}{layout.parts.get(part, part)}/{rest}"
