"""What a visitor brings: checked, laid into a folder of its own, and named for `engine.data.load`.

    RUNS/.uploads/KEY/upload.json   what it is; KEY is made of the file's content
                      NAME.npz      the file itself, or
                      NAME/         its images as train/<class>/..., val/..., test/...

A folder of the server may be named only inside the folders that the environment variable
MIXNN_FOLDERS lists (separated by colons): without it by nobody, since a visitor is a stranger.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

from app.review.archives import CHUNK, MB, MOST_UPLOADED, UploadError, opened, shown
from app.review.unpacking import Layout, check_arrays, unpack_images
from engine.data import DataError, load
from engine.problem import SMALLEST_SIDE
from engine.store import StoreError, read_json, write_json

FOLDER = ".uploads"
INCOMING = ".file"  # an upload before it is known what it is
KEPT = 24 * 3600  # seconds that an upload without a run is kept after somebody last looked at it
MOST_SIDE = 256  # pixels of an array's images; image files are shrunk by the loader
MOST_CLASSES = 1000
MOST_SOFT = 50_000_000  # images x classes: training keeps several tables of this size
SPARE = 1024 * MB  # disk that an upload leaves free
# One upload is unpacked at a time: its limits hold for the machine, not for each visitor.
_unpacking = threading.Lock()


@dataclass(frozen=True)
class Upload:
    """What was brought. `dataset` is the name that `engine.data.load` understands."""

    key: str
    name: str  # as the visitor calls it
    form: str  # "npz" or "folder"
    dataset: str
    notes: tuple[str, ...] = ()  # what was left out, in one sentence each
    layout: Layout = Layout()  # of a folder
    at: float = 0.0  # when it was looked at; what lies in a folder of the server may change


def receive(file: BinaryIO, name: str, root: Path) -> Upload:
    """Take an uploaded npz or zip into a folder of its own under root, the folder of the runs.

    The same content again is the upload that is already there. Raises UploadError where it is
    refused; nothing is left behind then, and nothing is ever written outside its own folder.
    """
    home = root / FOLDER
    home.mkdir(parents=True, exist_ok=True)
    clean(root)
    with _unpacking, _reported(name), tempfile.TemporaryDirectory(dir=home, prefix=".new-") as new:
        own = Path(new) / "upload"
        own.mkdir()
        key = _copy(file, own / INCOMING)
        if (found := find(key, root)) is not None:
            return found
        about = _unpack(own, home / key, shown(name))
        write_json(own / "upload.json", asdict(about))
        with contextlib.suppress(OSError):  # the same content came a moment ago
            os.rename(own, home / key)
    return about


def named(text: str, root: Path) -> Upload:
    """A folder, or an npz file, of the server. Raises UploadError outside MIXNN_FOLDERS."""
    path = Path(text.strip()).expanduser().resolve()
    if not roots():
        raise UploadError(
            "Folders of the server can be named only where MIXNN_FOLDERS was set when it started: "
            "upload a file instead."
        )
    if not _inside(path, roots()):
        allowed = ", ".join(map(str, roots()))
        raise UploadError(f"{shown(text)} cannot be read: allowed is what lies in {allowed}.")
    if _inside(path, [root]):  # uploads and runs, of whomever
        raise UploadError(f"{shown(text)} lies in the folder of the runs: upload a file instead.")
    own = root / FOLDER / hashlib.sha256(str(path).encode()).hexdigest()[:16]
    with _reported(shown(path.name)):
        try:
            return _point(path, own)
        except UploadError:
            shutil.rmtree(own, ignore_errors=True)
            raise


def _point(path: Path, own: Path) -> Upload:
    """An upload that only points to a path of the server."""
    form, target = ("npz" if path.is_file() else "folder"), path
    layout = Layout(parts={part: part for part in ("train", "val", "test")})
    own.mkdir(parents=True, exist_ok=True)
    if form == "folder" and not (path / "train").is_dir():  # the loader wants classes under train/
        layout, target = Layout(), own / _plain(path.name)
        target.mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (target / "train").symlink_to(path)
    about = Upload(own.name, path.name, form, f"{form}:{target}", layout=layout, at=time.time())
    _check(about)
    write_json(own / "upload.json", asdict(about))
    return about


def find(key: str, root: Path) -> Upload | None:
    """The upload of this key, kept for another day; None where it is gone."""
    if not key.isalnum():
        return None
    path = root / FOLDER / key / "upload.json"
    try:
        about = read_json(path)
        path.touch()
        return Upload(
            **about | {"notes": tuple(about["notes"]), "layout": Layout(**about["layout"])}
        )
    except (StoreError, OSError, TypeError, KeyError):
        return None


def of_dataset(dataset: str, root: Path) -> Upload | None:
    """The upload that a run's data set came from; None where it came another way."""
    home, path = (root / FOLDER).resolve(), Path(dataset.partition(":")[2]).absolute()
    if path.is_relative_to(home) and path != home:
        return find(path.relative_to(home).parts[0], root)
    return None


def may_read(dataset: str, root: Path) -> bool:
    """Whether a visitor may name this data set: the built-in ones, uploads, and MIXNN_FOLDERS."""
    family, _, path = dataset.partition(":")
    if family not in ("npz", "folder"):
        return True
    return _inside(Path(path).expanduser(), [root / FOLDER, *roots()])


def roots() -> list[Path]:
    """The folders of the server that visitors may name, from MIXNN_FOLDERS."""
    given = os.environ.get("MIXNN_FOLDERS", "").split(os.pathsep)
    return [Path(part).expanduser().resolve() for part in given if part.strip()]


def clean(root: Path, now: float | None = None) -> int:
    """Remove uploads that no run was made of and nobody looked at for a day; returns how many."""
    used = set(_datasets(root))
    n_removed = 0
    for own in (root / FOLDER).glob("*/"):
        mark = own / "upload.json"
        try:
            age = (now or time.time()) - (mark if mark.exists() else own).stat().st_mtime
            dataset = json.loads(mark.read_text())["dataset"] if mark.exists() else ""
        except (OSError, ValueError, KeyError):
            continue
        if age > KEPT and dataset not in used:
            shutil.rmtree(own, ignore_errors=True)
            n_removed += 1
    return n_removed


def _datasets(root: Path) -> Iterator[str]:
    """The data sets of all runs."""
    for path in root.glob("*/config.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            yield json.loads(path.read_text())["config"]["dataset"]


@contextlib.contextmanager
def _reported(name: str) -> Iterator[None]:
    """Say every refusal about the file by the visitor's own name for it."""
    try:
        yield
    except UploadError as error:
        raise UploadError(f"{shown(name)} was not taken: {error}.") from None
    except OSError as error:
        raise UploadError(f"{shown(name)} could not be stored: {error.strerror}.") from None


def _copy(file: BinaryIO, path: Path) -> str:
    """Copy an upload to path; returns 16 hex digits made of its content."""
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as out:
        while chunk := file.read(CHUNK):
            size += len(chunk)
            if size > MOST_UPLOADED:
                raise UploadError(f"it has more than {MOST_UPLOADED // MB} MB, the most allowed")
            digest.update(chunk)
            out.write(chunk)
    return digest.hexdigest()[:16]


def _unpack(own: Path, later: Path, name: str) -> Upload:
    """Check what was copied to own and unpack it there; later is where own will lie."""
    path, plain = own / INCOMING, _plain(name)
    if path.stat().st_size == 0:
        raise UploadError("it is empty")
    if not zipfile.is_zipfile(path):
        raise UploadError("it is neither an .npz file nor a .zip file")
    with opened(path) as archive:
        if shutil.disk_usage(own).free < SPARE + sum(m.file_size for m in archive.members):
            raise UploadError("the server's disk is too full for it; ask whoever runs the server")
        form, notes, layout = "npz", [], Layout()
        if archive.members and all(m.filename.endswith(".npy") for m in archive.members):
            check_arrays(archive)
            path = path.rename(own / f"{plain}.npz")
        else:
            form = "folder"
            layout, notes = unpack_images(archive, own / plain)
            path.unlink()
            path = own / plain
    about = Upload(later.name, name, form, f"{form}:{path}", tuple(notes), layout)
    _check(about)
    return replace(about, dataset=f"{form}:{later.resolve() / path.name}")


def _plain(name: str) -> str:
    """A file name as runs may be called: "my pets (2).zip" becomes "my-pets-2"."""
    return re.sub(r"[^A-Za-z0-9]+", "-", Path(name).stem).strip("-")[:30] or "data"


def _check(about: Upload) -> None:
    """Load it once, and refuse what no run could be made of."""
    try:
        data = load(about.dataset)
    except DataError as error:
        path = about.dataset.partition(":")[2]
        text = str(error).replace(about.dataset, about.name).replace(path, about.name)
        raise UploadError(text.removeprefix(f"{about.name}: ")) from None
    except MemoryError:
        raise UploadError("its images do not fit into the server's memory") from None
    _, height, width = data.shape
    n_classes = data.n_classes
    if min(height, width) < SMALLEST_SIDE or max(height, width) > MOST_SIDE:
        raise UploadError(
            f"its images have {width} x {height} pixels; allowed are sides of {SMALLEST_SIDE} to "
            f"{MOST_SIDE}"
        )
    if n_classes > MOST_CLASSES or data.n * n_classes > MOST_SOFT:
        raise UploadError(
            f"it has {n_classes:,} classes and {data.n:,} images; allowed are {MOST_CLASSES:,} "
            f"classes, and {MOST_SOFT // 1_000_000} million as the product of both"
        )


def _inside(path: Path, folders: list[Path]) -> bool:
    real = path.resolve()
    return any(real.is_relative_to(folder.resolve()) for folder in folders)
