"""The reviewed labels, in the form the data came in (npz or class folders) and as a table."""

import io
import shutil
import zipfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO

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
from engine.runs.folder import Run
from engine.tables import rows_text

COLUMNS = (
    "id", "given", "suggested", "proposed", "decision", "final", "p_clean", "label_quality",
    "soft_label_argmax", "reviewed_at",
)  # fmt: skip
MOST = 1024 * MB  # of image files in one zip; the table serves beyond


class HandbackError(StoreError):
    """A data set that cannot be handed back in this form; the message says what to do."""


def final_labels(
    found: LabelIssues, latest: dict[int, Decision], accept: float | None = None
) -> tuple[np.ndarray, list[str]]:
    """Labels (N,) int64 after review, and how each came about.

    A sample nobody decided on keeps its given label (""), unless accept is a number: then it takes
    the proposed one ("auto") where the probability of that is at least so large.
    """
    final, how = found.given.copy(), [""] * len(found.given)
    if accept is not None:
        for sample in np.flatnonzero((found.proposed != final) & (found.probability >= accept)):
            final[sample], how[sample] = found.proposed[sample], "auto"
    for sample, decision in latest.items():
        final[sample], how[sample] = decision.label, decision.kind
    return final, how


def table(
    classes: list[str],
    ids: list[str],
    found: LabelIssues,
    latest: dict[int, Decision],
    accept: float | None = None,
) -> str:
    """One row for every sample, as CSV with the COLUMNS; see engine/tables.py."""
    final, how = final_labels(found, latest, accept)
    rows = (
        (
            name,
            classes[found.given[i]],
            classes[found.suggested[i]],
            classes[found.proposed[i]],
            how[i],
            classes[final[i]],
            format_share(found.p_clean[i]),
            f"{found.quality[i]:.6f}",
            classes[found.soft_argmax[i]],
            latest[i].at if i in latest else "",
        )
        for i, name in enumerate(ids)
    )
    return rows_text([COLUMNS, *rows])


def data_set(run: Run, data: Data, final: np.ndarray, root: Path) -> bytes:
    """The data set of a run with the labels final (N,), as a file in the form it came in.

    root: of the runs, where uploads lie. Raises HandbackError.
    """
    family, _, text = run.config.dataset.partition(":")
    path, out = Path(text).expanduser(), io.BytesIO()
    if family == "npz":
        # of a subset, the samples' names are their rows in the whole
        rows = np.arange(len(final)) if data.ids is None else np.array(data.ids, dtype=np.int64)
        npz_again(path, rows, final, out)
    elif family == "folder":
        about = of_dataset(run.config.dataset, root)
        whole = Layout(parts={part: part for part in PARTS})
        came = [data.classes[label] for label in data.labels.tolist()]
        now = [data.classes[label] for label in final.tolist()]
        moved = {name: b for name, a, b in zip(data.ids, came, now, strict=True) if a != b}
        folders_again(path, about.layout if about else whole, moved, out)
    else:
        as_npz(data, final, out)
    return out.getvalue()


def as_npz(data: Data, final: np.ndarray, out: BinaryIO) -> None:
    """Write data to out in the MedMNIST layout, with final (N,) as its training labels."""
    parts = {"train": (data.images, final), "test": (data.test_images, data.test_labels.numpy())}
    if data.val_images is not None:
        parts["val"] = (data.val_images, data.val_labels.numpy())
    arrays = {}
    for part, (images, labels) in parts.items():
        if len(labels):
            pixels = images.permute(0, 2, 3, 1).numpy()
            arrays[f"{part}_images"] = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
            arrays[f"{part}_labels"] = labels
    np.savez_compressed(out, **arrays, class_names=np.array(data.classes))


def npz_again(path: Path, rows: np.ndarray, final: np.ndarray, out: BinaryIO) -> None:
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


def folders_again(
    base: Path, layout: Layout, moved: dict[str, str], out: BinaryIO, most: int = MOST
) -> None:
    """Write a zip of the class folders under base to out, as they lay in what was uploaded.

    moved: file by its path under base -> class folder it belongs to now. A moved file keeps its
    name unless another one has it there. Raises HandbackError above most bytes.
    """
    files = [
        path
        for part in PARTS
        for path in sorted((base / part).glob("[!.]*/*"))
        if path.suffix.lower() in SUFFIXES and path.name[0] != "." and path.is_file()
    ]
    if (size := sum(path.stat().st_size for path in files)) > most:
        raise HandbackError(
            f"the images take {size / MB:,.0f} MB, and a zip may hold {most // MB:,}: take the "
            "table, which says where each file belongs"
        )
    homes = [path.relative_to(base).as_posix() for path in files]
    plain = {home: _under_class(home) for home in homes}
    taken = {plain[home].casefold() for home in homes if home not in moved}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as target:
        for path, home in zip(files, homes, strict=True):
            if home in moved:
                home = _free(PurePosixPath(plain[home]), moved[home], taken)
            else:
                home = plain[home]
            target.write(path, _as_it_lay(home, layout))


def _free(home: PurePosixPath, kind: str, taken: set[str]) -> str:
    """A path in the class folder kind that no other file has; it is taken from now on."""
    part, before, _ = home.parts
    number = 1
    name = home.name
    while (path := f"{part}/{kind}/{name}").casefold() in taken:
        more = f"-{number}" if number > 1 else ""
        name, number = f"{home.stem}-from-{before}{more}{home.suffix}", number + 1
    taken.add(path.casefold())
    return path


def _under_class(home: str) -> str:
    """A file's path with its folder called as its class, so that one class is one folder."""
    part, kind, name = home.split("/", 2)
    return f"{part}/{plain_class(kind)}/{name}"


def _as_it_lay(home: str, layout: Layout) -> str:
    part, _, rest = home.partition("/")
    if layout.parts is None:
        return layout.prefix + rest
    return f"{layout.prefix}{layout.parts.get(part, part)}/{rest}"
