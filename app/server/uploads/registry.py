"""Uploads: checked, stored in a folder of their own, and named for `engine.data.load`.

    RUNS/.uploads/KEY/upload.json   description; KEY is a hash of the owner and the content
                      NAME.npz      the file itself, or
                      NAME/         its images as train/<class>/..., val/..., test/..., and
                      .file         the zip that they are from; or the table of features that
                                    NAME.npz is from

Instead of an upload, a folder of the server may be named, see `paths`.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

from app.server.storage import storage_of
from app.server.uploads import jobs
from app.server.uploads.jobs import Job
from app.server.uploads.paths import (
    FOLDER,
    INCOMING,
    allowed_folders,
    is_inside,
    resolved,
    upload_key,
)
from app.server.uploads.safe_zip import CHUNK, MB, MOST_UNPACKED, MOST_UPLOADED, UploadError
from app.server.uploads.sandbox import check
from engine.config import SMALLEST_SIDE
from engine.data.layout import Layout
from engine.data.parts import shown
from engine.data.tables import SUFFIXES
from engine.errors import StoreError
from engine.files import read_json, write_json
from engine.runs import listing

log = logging.getLogger(__name__)
READING = 2  # version of how uploads are read
KEPT = 24 * 3600  # seconds that an upload without a run is kept after its last use
NEW = ".new-"  # prefix of the folder of an upload in progress
FRESH = 5.0  # seconds in which a new folder may not have its lock yet
LOCK = "lock"  # file that the server locks while it works on the upload
SPARE = 1024 * MB  # bytes of the disk that must remain free


@dataclass(frozen=True)
class Upload:
    """An upload, or a folder of the server. `dataset` is its name for `engine.data.load`."""

    key: str
    name: str  # the visitor's name of the file
    form: str  # "npz", "folder", "manifest" or "features"
    dataset: str
    notes: tuple[str, ...] = ()  # what was left out, in one sentence each
    left_out: tuple[tuple[str, str], ...] = ()  # name and reason of each file that was left out
    layout: Layout = Layout()  # of a folder
    at: float = 0.0  # when it was checked; a folder of the server may change


def receive(
    file: BinaryIO, name: str, root: Path, job: Job | None = None, *, owner: str = ""
) -> Upload:
    """Store an uploaded npz or zip in a folder of its own under root, the folder of the runs.

    job: shows the progress, and cancels the upload. owner: the visitor's id; "" for what all share,
    such as the example. The same content of the same owner is the existing upload under its new
    name. Raises UploadError if it is refused; no file remains then, and nothing is ever written
    outside its own folder.
    """
    home = root / FOLDER
    with _reported(name):
        home.mkdir(parents=True, exist_ok=True)
    clean(root)
    job = job or Job()
    with _reported(name), _new_folder(home) as new:
        own = new / "upload"
        own.mkdir()
        key = _key(owner, _copy(file, own / INCOMING))
        if (existing := find(key, root)) is not None:
            existing = replace(existing, name=shown(name))
            write_json(home / key / "upload.json", asdict(existing))
            return existing
        about = _unpack(own, home / key, shown(name), job)
        job.check()
        write_json(own / "upload.json", asdict(about))
        with contextlib.suppress(OSError):  # the same content was stored in the meantime
            os.rename(own, home / key)
    return about


class UploadThread(threading.Thread):
    """`receive` in the background: `job` shows the progress, then `upload` or `refusal` is set.

    owner: id of the visitor, of whom only a few uploads are unpacked at once.
    """

    def __init__(self, file: BinaryIO, name: str, root: Path, owner: str = ""):
        super().__init__(name="upload", daemon=True)
        self._file, self._name, self._root, self._owner = file, name, root, owner
        self.job = Job(owner)
        self.upload: Upload | None = None
        self.refusal = ""

    def run(self) -> None:
        try:
            self.upload = receive(self._file, self._name, self._root, self.job, owner=self._owner)
        except (UploadError, ValueError, OSError) as error:
            self.refusal = str(error)
        except Exception as error:
            log.error("an upload failed", exc_info=error)
            self.refusal = f"{shown(self._name)} was not accepted: {type(error).__name__}."


def named(text: str, root: Path) -> Upload:
    """A folder, npz file or table of the server as an upload. Raises UploadError if not allowed."""
    path = resolved(text.strip())
    if not allowed_folders():
        raise UploadError(
            "Folders of the server can be named only where MIXNN_FOLDERS was set when it started: "
            "upload a file instead."
        )
    if path is None or not is_inside(path, allowed_folders()):
        allowed = ", ".join(map(str, allowed_folders()))
        raise UploadError(
            f"{shown(text)} cannot be read: allowed are folders and files in {allowed}."
        )
    if is_inside(path, [root]):  # uploads and runs, also of others
        raise UploadError(f"{shown(text)} is in the folder of the runs: upload a file instead.")
    own = root / FOLDER / hashlib.sha256(str(path).encode()).hexdigest()[:16]
    with _reported(shown(path.name)):
        try:
            return _point(path, own)
        except UploadError:
            shutil.rmtree(own, ignore_errors=True)
            raise


def _point(path: Path, own: Path) -> Upload:
    """An upload that only points to a path of the server."""
    is_table = path.suffix.lower() in SUFFIXES
    form = "manifest" if is_table else "npz" if path.is_file() else "folder"
    own.mkdir(parents=True, exist_ok=True)
    about = Upload(own.name, path.name, form, f"{form}:{path}", at=time.time())
    check(form, path, path.name, SMALLEST_SIDE)
    write_json(own / "upload.json", asdict(about))
    return about


def find(key: str, root: Path) -> Upload | None:
    """The upload with this key, kept for another day; None if it does not exist."""
    if not key.isalnum():
        return None
    path = root / FOLDER / key / "upload.json"
    try:
        about = read_json(path)
        path.touch()
        return Upload(
            **about
            | {
                "notes": tuple(about["notes"]),
                "left_out": tuple((str(name), str(why)) for name, why in about.get("left_out", ())),
                "layout": Layout(**about["layout"]),
            }
        )
    except (StoreError, OSError, TypeError, KeyError):
        return None


def of_dataset(dataset: str, root: Path) -> Upload | None:
    """The upload that a data set is from; None if it is not from an upload."""
    key = upload_key(dataset, root)
    return None if key is None else find(key, root)


def clean(root: Path, now: float | None = None) -> int:
    """Remove uploads without a run that were not used for a day; returns their number.

    Queued runs count, and runs of sweeps in folders below root. Incomplete uploads of a killed
    server are removed at once. now: seconds since 1970.
    """
    used = set(_datasets(root))
    keys = {upload_key(dataset, root) for dataset in used}
    n_removed = 0
    for own in (root / FOLDER).glob("*/"):
        if own.name.startswith(NEW):
            old = not _is_held(own)
        else:
            unused = own.name not in keys and _dataset_in(own) not in used
            old = unused and _age(own, now or time.time()) > KEPT
        if old:
            shutil.rmtree(own, ignore_errors=True)
            n_removed += 1
    return n_removed


def _age(own: Path, now: float) -> float:
    """Seconds since an upload was last used."""
    mark = own / "upload.json"
    try:
        return now - (mark if mark.exists() else own).stat().st_mtime
    except OSError:
        return 0.0


def _dataset_in(own: Path) -> str:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return json.loads((own / "upload.json").read_text())["dataset"]
    return ""


@contextlib.contextmanager
def _new_folder(home: Path) -> Iterator[Path]:
    """A temporary folder, locked so that other servers know that it is in use."""
    with (
        tempfile.TemporaryDirectory(dir=home, prefix=NEW, ignore_cleanup_errors=True) as new,
        open(Path(new) / LOCK, "w") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(new)


def _is_held(own: Path) -> bool:
    """Whether a server works on it; a new one may have no lock yet."""
    if _age(own, time.time()) < FRESH:
        return True
    try:
        with open(own / LOCK) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock, no server
        return False
    return False


def _datasets(root: Path) -> Iterator[str]:
    """The data sets of all runs, first of queued ones, which may start in the meantime."""
    for request in storage_of(root).queue():
        with contextlib.suppress(KeyError, TypeError):  # a fork uses its parent's
            yield str(request["config"]["dataset"])
    for folder in listing.folders_without_runs(root):
        for own in listing.run_folders(folder):
            with contextlib.suppress(StoreError, KeyError, TypeError, RecursionError):
                yield str(read_json(own / "config.json")["config"]["dataset"])


@contextlib.contextmanager
def _reported(name: str) -> Iterator[None]:
    """Name the file in every error as the visitor does."""
    try:
        yield
    except UploadError as error:
        raise UploadError(f"{shown(name)} was not accepted: {error}.") from None
    except OSError as error:
        raise UploadError(f"{shown(name)} could not be stored: {error.strerror}.") from None


def _copy(file: BinaryIO, path: Path) -> str:
    """Copy an upload to path; returns the SHA-256 of its content."""
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as out:
        while chunk := file.read(CHUNK):
            size += len(chunk)
            if size > MOST_UPLOADED:
                raise UploadError(f"it has more than {MOST_UPLOADED // MB} MB, the most allowed")
            digest.update(chunk)
            out.write(chunk)
    return digest.hexdigest()


def _key(owner: str, content: str) -> str:
    """The key of an upload: 16 hex digits, a hash of its owner and the SHA-256 of its content.

    READING is part of it: what an older version has read otherwise is another upload.
    """
    return hashlib.sha256(f"{READING} {owner} {content}".encode()).hexdigest()[:16]


def _unpack(own: Path, later: Path, name: str, job: Job) -> Upload:
    """Unpack the file in the folder own in a separate process; later: the folder's final path."""
    if shutil.disk_usage(own).free < SPARE + MOST_UNPACKED:
        raise UploadError("the server's disk is full; contact its administrator")
    result = jobs.run(own, name, job)
    dataset = f"{result['form']}:{later.resolve() / result['file']}"
    layout = Layout(**result["layout"] or {})
    left_out = tuple((name, why) for name, why in result["left_out"])
    return Upload(
        later.name, name, result["form"], dataset, tuple(result["notes"]), left_out, layout
    )
