"""The forms in which a run's labels are exported, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engine.analysis import label_export
from engine.analysis.exports import annotation, hubs, images, sinks
from engine.analysis.exports.bundle import Bundle
from engine.analysis.exports.trackers import TRACKERS
from engine.errors import StoreError
from engine.files import written_whole


@dataclass(frozen=True)
class Form:
    """A form. suffixes: of the file to write; none: a folder, or a .zip of it."""

    description: str
    suffixes: tuple[str, ...]
    write: Callable[[Bundle, Path], None]


def write(bundle: Bundle, form: str, path: Path) -> None:
    """Write a form of FORMS to path, whole or not at all. Raises StoreError."""
    if not bundle.run.epochs:
        raise StoreError(f"{bundle.run.folder} has no epoch yet: there is nothing to export")
    check_suffix(form, path)
    if form not in OF_ROWS and not bundle.has_files and bundle.data.is_rows:
        raise StoreError(
            f"{bundle.run.folder} is on rows of numbers, the form {form} needs images: allowed are "
            f"{', '.join(OF_ROWS)}"
        )
    FORMS[form].write(bundle, path)


def check_suffix(form: str, path: Path) -> None:
    """Raise StoreError where a form is unknown, or the name of its file ends otherwise."""
    if form not in FORMS:
        raise StoreError(f"form {form!r}: allowed are {', '.join([*FORMS, *TRACKERS])}")
    suffixes = FORMS[form].suffixes
    if suffixes and path.suffix.lower() not in suffixes:
        raise StoreError(
            f"{path}: the form {form} is a file that ends with {' or '.join(suffixes)}"
        )


def _csv(bundle: Bundle, path: Path) -> None:
    label_export.export(bundle.run, path, bundle.issues, bundle.final)


def _arrays(writer: Callable[[Bundle, BinaryIO], None]) -> Callable[[Bundle, Path], None]:
    def to_file(bundle: Bundle, path: Path) -> None:
        with written_whole(path) as temporary, open(temporary, "wb") as file:
            writer(bundle, file)

    return to_file


def _files(
    writer: Callable[[Bundle, sinks.FolderSink | sinks.ZipSink], None],
) -> Callable[[Bundle, Path], None]:
    def to_sink(bundle: Bundle, path: Path) -> None:
        _check_outside(bundle, path)
        with sinks.opened(path) as sink:
            writer(bundle, sink)

    return to_sink


def _check_outside(bundle: Bundle, path: Path) -> None:
    """Raise StoreError where a copy of a folder would be in the folder itself."""
    root = Path(bundle.run.config.dataset.partition(":")[2]).expanduser().resolve()
    if bundle.family == "folder" and path.resolve().is_relative_to(root):
        raise StoreError(f"{path} is in the folder of the data set, {root}: name another place")


def _text(writer: Callable[[Bundle, Path, Path], None]) -> Callable[[Bundle, Path], None]:
    def to_file(bundle: Bundle, path: Path) -> None:
        with written_whole(path) as temporary:
            writer(bundle, path, temporary)

    return to_file


OF_ROWS = ("csv", "npz", "manifest", "cleanlab")  # forms that need no images
TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
FORMS: dict[str, Form] = {
    "csv": Form("a table of all labels, why they are doubted and what was decided", (), _csv),
    "npz": Form("arrays in the MedMNIST layout", (".npz",), _arrays(images.npz)),
    "folders": Form("image files in class folders", (), _files(images.folders)),
    "zip": Form("the same as a zip file", (".zip",), _files(images.folders)),
    "manifest": Form("a table of paths and labels", TABLES, _text(images.manifest)),
    "cleanlab": Form(
        "labels and probabilities for cleanlab", (".npz",), _arrays(annotation.cleanlab)
    ),
    "labelstudio": Form("tasks of Label Studio", (".json",), _text(annotation.labelstudio)),
    "fiftyone": Form("image classification data sets of FiftyOne", (), _files(annotation.fiftyone)),
    "huggingface": Form("Parquet files of Hugging Face", (), _files(hubs.huggingface)),
    "croissant": Form("images, a table and their Croissant metadata", (), _files(hubs.croissant)),
}
