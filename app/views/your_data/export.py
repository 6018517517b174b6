"""Export of reviewed labels as one file: the data set in any form, class folders as a zip."""

import io
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from app.server.uploads import parquet, safe_zip
from app.server.uploads.contents import place
from app.server.uploads.paths import FOLDER, INCOMING
from app.server.uploads.registry import Upload, of_dataset
from app.server.uploads.safe_zip import MB
from engine.analysis.exports import forms, images
from engine.analysis.exports.bundle import Bundle, Originals
from engine.analysis.exports.sinks import ZipSink
from engine.data import relabeling
from engine.data.features import ROW
from engine.data.layout import Layout
from engine.errors import StoreError

MAX_ZIP_BYTES = 1024 * MB  # of image files in one file; larger data sets only have the table
FILES_ONLY = ("manifest",)  # forms that need image files


class ExportError(StoreError):
    """A data set that cannot be exported in this format; the message says what to do."""


def own_form(bundle: Bundle, root: Path) -> str:
    """The form in which it can be uploaded again: zip of image files, a table, else npz."""
    if bundle.has_files:
        return "zip"
    return "npz" if _table_of(bundle, root) is None else "manifest"


def offered(bundle: Bundle, root: Path) -> dict[str, str]:
    """The forms that a data set has, besides the table and its own: name -> description."""
    without = ("csv", "folders", own_form(bundle, root), *(() if bundle.has_files else FILES_ONLY))
    kinds = forms.OF_ROWS if not bundle.has_files and bundle.data.is_rows else forms.FORMS
    return {name: forms.FORMS[name].description for name in kinds if name not in without}


def suffix(bundle: Bundle, form: str, root: Path) -> str:
    """The suffix of the file that `contents` makes."""
    if form == "manifest" and (table := _table_of(bundle, root)) is not None:
        return Path(table[1]).suffix.lower()
    if form == "manifest" and bundle.family == "manifest":
        return Path(bundle.run.config.dataset).suffix.lower()
    return ".csv" if form == "csv" else (*forms.FORMS[form].suffixes, ".zip")[0]


def contents(bundle: Bundle, form: str, root: Path) -> bytes:
    """A form of `forms.FORMS` as the content of one file.

    root: folder of the runs and uploads. Raises ExportError if it is too large.
    """
    upload = of_dataset(bundle.run.config.dataset, root)
    original = root / FOLDER / upload.key / INCOMING if upload else None
    out = io.BytesIO()
    if form == "manifest" and (table := _table_of(bundle, root)) is not None:
        return _changed_table(bundle, *table)
    if form == "zip" and bundle.family == "folder" and upload and original:
        if original.is_file():
            write_upload(original, _changed(bundle), out)
        else:
            write_older(bundle, upload, out)
        return out.getvalue()
    if bundle.listing is not None and form not in ("csv", "cleanlab", "manifest"):
        files = [file.source for file in bundle.listing.files]
        check_size(sum(len(f) if isinstance(f, bytes) else f.stat().st_size for f in files))
    with tempfile.TemporaryDirectory() as folder, _originals(bundle, original) as originals:
        path = Path(folder) / f"export{suffix(bundle, form, root)}"
        home = Path(bundle.run.config.dataset.partition(":")[2]).expanduser()
        home = home if bundle.family == "folder" else home.parent
        forms.write(replace(bundle, originals=originals, root=home), form, path)
        return path.read_bytes()


def _table_of(bundle: Bundle, root: Path) -> tuple[Path, str] | None:
    """The uploaded table of features, and its name; None if it is no such upload."""
    upload = of_dataset(bundle.run.config.dataset, root)
    if upload is None or upload.form != "features":
        return None
    path = root / FOLDER / upload.key / INCOMING
    return (path, upload.name) if path.is_file() else None


def _changed_table(bundle: Bundle, path: Path, name: str) -> bytes:
    """The uploaded table as it came, with the final labels and without removed rows."""
    with np.load(Path(bundle.run.config.dataset.partition(":")[2])) as file:
        numbers = file[ROW].tolist()
    final = bundle.final
    labels = {
        number: None if removed else bundle.classes[label]
        for number, label, removed in zip(
            numbers, final.labels.tolist(), final.removed.tolist(), strict=True
        )
    }
    return parquet.changed(path.read_bytes(), name, labels)


def _changed(bundle: Bundle) -> dict[str, str | None]:
    """Id -> new class of the images whose label changes; None if removed."""
    assert bundle.listing is not None
    loaded = {file.id: file.label for file in bundle.listing.files if file.part == "train"}
    return images.changed_classes(bundle, loaded)


@contextmanager
def _originals(bundle: Bundle, path: Path | None) -> Iterator[Originals | None]:
    """The images of an uploaded zip as they came: id -> path in the zip, and its content."""
    if bundle.family != "folder" or path is None or not path.is_file():
        yield None
        return
    with safe_zip.opened(path) as archive:
        paths = [safe_zip.parts(name) for name in archive.names()[0]]
        members = dict(zip(paths, archive.members, strict=True))
        targets = place(archive, members, parquet.read_rows).targets
        yield {
            "/".join(target): ("/".join(own), partial(_content, archive, members[own]))
            for own, target in targets.items()
        }


def _content(archive: safe_zip.Archive, member: zipfile.ZipInfo) -> bytes:
    return b"".join(archive.chunks(member))


def write_upload(
    path: Path, changed: Mapping[str, str | None], out: BinaryIO, most: int = MAX_ZIP_BYTES
) -> None:
    """Copy the uploaded zip at path to out; images get the folders of their new classes.

    changed: id of an image, its path in the unpacked data set -> its new class; None removes it.
    All other files are copied as they came. Raises ExportError above `most` bytes, and for an id
    that is not found again.
    """
    with safe_zip.opened(path) as archive:
        check_size(sum(member.file_size for member in archive.members), most)
        paths = [safe_zip.parts(name) for name in archive.names()[0]]
        placed = place(archive, dict(zip(paths, archive.members, strict=True)), parquet.read_rows)
        by_id = {"/".join(target): path for path, target in placed.targets.items()}
        if lost := [name for name in changed if name not in by_id]:  # a table could not be read
            raise ExportError(" ".join([f"{lost[0]} is not found in the upload.", *placed.notes]))
        classes = {by_id[name]: kind for name, kind in changed.items()}
        new = relabeling.changes(placed.found, placed.labeled or [], classes)
        with zipfile.ZipFile(out, "w") as target:
            for member, own in zip(archive.members, paths, strict=True):
                own_target = new.paths.get(own, own)
                if own_target is None:
                    continue
                info = zipfile.ZipInfo("/".join(own_target), member.date_time)
                info.compress_type = member.compress_type
                with target.open(info, "w", force_zip64=True) as to:
                    if own in new.tables:
                        raw = b"".join(archive.chunks(member))
                        to.write(parquet.changed(raw, own[-1], new.tables[own]))
                    else:
                        for chunk in archive.chunks(member):
                            to.write(chunk)


def write_older(bundle: Bundle, upload: Upload, out: BinaryIO) -> None:
    """Write a zip of an upload of an older server, which kept only the images, in its layout."""

    class Renamed(ZipSink):
        def add(self, name: str, content: Path | bytes) -> None:
            super().add(_in_layout(name, upload.layout), content)

    with zipfile.ZipFile(out, "w", strict_timestamps=False) as archive:
        images.folders(bundle, Renamed(archive))


def check_size(n_bytes: int, most: int = MAX_ZIP_BYTES) -> None:
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
