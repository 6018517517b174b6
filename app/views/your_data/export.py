"""Export of reviewed labels: in the format of the upload (npz or class folders), or as a table."""

import io
import shutil
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from app.server.decisions import Decision
from app.server.uploads.contents import Layout
from app.server.uploads.registry import of_dataset
from app.server.uploads.safe_zip import MB
from engine.analysis.label_export import format_share
from engine.analysis.label_issues import LabelIssues
from engine.data import Data
from engine.data.folder import PARTS, SUFFIXES
from engine.data.parts import plain_class
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
    """Labels (N,) int64 after review, and how each was decided: keep, change, skip, auto or "".

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
            classes[final[i]],
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


def data_set(run: RunFolder, data: Data, final: np.ndarray, root: Path) -> bytes:
    """The data set of a run with the labels final (N,), as a file in the format of the upload.

    root: folder of the runs and uploads. Raises ExportError if it is too large for a zip.
    """
    family, _, text = run.config.dataset.partition(":")
    path, out = Path(text).expanduser(), io.BytesIO()
    if family == "npz":
        # in a subset, the names of the samples are their rows in the file
        rows = np.arange(len(final)) if data.ids is None else np.array(data.ids, dtype=np.int64)
        write_npz(path, rows, final, out)
    elif family == "folder":
        upload = of_dataset(run.config.dataset, root)
        own_layout = Layout(parts={part: part for part in PARTS})
        given = [data.classes[label] for label in data.labels.tolist()]
        names = [data.classes[label] for label in final.tolist()]
        files = zip(data.ids or (), given, names, strict=True)
        moved = {file: new for file, old, new in files if old != new}
        write_folders(path, upload.layout if upload else own_layout, moved, out)
    else:
        new_npz(data, final, out)
    return out.getvalue()


def new_npz(data: Data, final: np.ndarray, out: BinaryIO) -> None:
    """Write data to out in the MedMNIST layout, with final (N,) as its training labels."""
    parts = {"train": (data.images, final), "test": (data.test_images, data.test_labels.numpy())}
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


def write_npz(path: Path, rows: np.ndarray, final: np.ndarray, out: BinaryIO) -> None:
    """Copy the npz at path to out; only train_labels changes, to final (n,) in its rows (n,).

    All other arrays are copied byte by byte; the labels keep their type and shape.
    """
    name = "train_labels.npy"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w") as target:
        with source.open(name) as file:
            labels = np.lib.format.read_array(file, allow_pickle=False)
        labels.reshape(-1)[rows] = final
        for member in source.infolist():
            info = zipfile.ZipInfo(member.filename, member.date_time)
            info.compress_type = member.compress_type
            with target.open(info, "w", force_zip64=True) as to:
                if member.filename == name:
                    np.lib.format.write_array(to, labels, allow_pickle=False)
                else:
                    with source.open(member) as file:
                        shutil.copyfileobj(file, to, MB)


def write_folders(
    base: Path, layout: Layout, moved: dict[str, str], out: BinaryIO, most: int = MAX_ZIP_BYTES
) -> None:
    """Write a zip of the class folders under base to out, in the layout of the upload.

    moved: file by its path under base -> its new class folder. A moved file keeps its name unless
    another file there has it. Raises ExportError above `most` bytes.
    """
    files = [
        path
        for part in PARTS
        for path in sorted((base / part).glob("[!.]*/*"))
        if path.suffix.lower() in SUFFIXES and path.name[0] != "." and path.is_file()
    ]
    if (size := sum(path.stat().st_size for path in files)) > most:
        raise ExportError(
            f"the images take {size / MB:,.0f} MB, and a zip may contain {most // MB:,}: use the "
            "table, which lists the class of each file"
        )
    names = [path.relative_to(base).as_posix() for path in files]
    unmoved = {name: _under_class(name) for name in names}
    taken = {unmoved[name].casefold() for name in names if name not in moved}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as target:
        for path, name in zip(files, names, strict=True):
            new = unmoved[name]
            if name in moved:
                new = _free_path(PurePosixPath(new), moved[name], taken)
            target.write(path, _in_layout(new, layout))


def _free_path(path: PurePosixPath, folder: str, taken: set[str]) -> str:
    """A path in a class folder that no other file has; adds it to taken."""
    part, before, _ = path.parts
    number, name = 1, path.name
    while (free := f"{part}/{folder}/{name}").casefold() in taken:
        more = f"-{number}" if number > 1 else ""
        name, number = f"{path.stem}-from-{before}{more}{path.suffix}", number + 1
    taken.add(free.casefold())
    return free


def _under_class(path: str) -> str:
    """A file's path with its folder named like its class, so that one class is one folder."""
    part, folder, name = path.split("/", 2)
    return f"{part}/{plain_class(folder)}/{name}"


def _in_layout(path: str, layout: Layout) -> str:
    """A file's path in the upload."""
    part, _, rest = path.partition("/")
    if layout.parts is None:
        return layout.prefix + rest
    return f"{layout.prefix}{layout.parts.get(part, part)}/{rest}"
