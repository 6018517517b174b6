"""What a visitor brings: checked, laid into a folder of its own, and named for `engine.data.load`.

    RUNS/.uploads/KEY/upload.json   what it is; KEY is made of who brought it and its content
                      NAME.npz      the file itself, or
                      NAME/         its images as train/<class>/..., val/..., test/...

A folder of the server may be named only inside the folders that the environment variable
MIXNN_FOLDERS lists (separated by colons): without it by nobody, since a visitor is a stranger.
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
from app.server.uploads.contents import Layout
from app.server.uploads.jobs import Job
from app.server.uploads.safe_zip import CHUNK, MB, MOST_UNPACKED, MOST_UPLOADED, UploadError
from app.server.uploads.sandbox import INCOMING, check, plain_name
from engine.analysis import run_table
from engine.config import SMALLEST_SIDE
from engine.data.parts import has_control, shown
from engine.errors import StoreError
from engine.runs.folder import read_json, write_json

log = logging.getLogger(__name__)
FOLDER = ".uploads"
KEPT = 24 * 3600  # seconds that an upload without a run is kept after somebody last looked at it
NEW = ".new-"  # begins the folder of an upload that is not taken yet
FRESH = 5.0  # seconds
LOCK = "lock"  # held by its server as long as it works on it
SPARE = 1024 * MB  # disk that an upload leaves free


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


def receive(
    file: BinaryIO, name: str, root: Path, job: Job | None = None, *, owner: str = ""
) -> Upload:
    """Take an uploaded npz or zip into a folder of its own under root, the folder of the runs.

    job says how far it is, and cancels it. owner: the visitor's id; "" for what is the same for
    all, such as the example. The same content again of the same owner is the upload that is already
    there, under its new name. Raises UploadError where it is refused; nothing is left behind then,
    and nothing is ever written outside its own folder.
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
        if (found := find(key, root)) is not None:
            found = replace(found, name=shown(name))
            write_json(home / key / "upload.json", asdict(found))
            return found
        about = _unpack(own, home / key, shown(name), job)
        job.check()
        write_json(own / "upload.json", asdict(about))
        with contextlib.suppress(OSError):  # the same content came a moment ago
            os.rename(own, home / key)
    return about


class Bringing(threading.Thread):
    """`receive` in the background: `job` says how far it is, then `found` or `refusal` is set.

    owner: the visitor whose it is, of whom only a few are unpacked at once.
    """

    def __init__(self, file: BinaryIO, name: str, root: Path, owner: str = ""):
        super().__init__(name="upload", daemon=True)
        self._file, self._name, self._root, self._owner = file, name, root, owner
        self.job = Job(owner)
        self.found: Upload | None = None
        self.refusal = ""

    def run(self) -> None:
        try:
            self.found = receive(self._file, self._name, self._root, self.job, owner=self._owner)
        except (UploadError, ValueError, OSError) as error:
            self.refusal = str(error)
        except Exception as error:
            log.error("an upload failed", exc_info=error)
            self.refusal = f"{shown(self._name)} was not taken: {type(error).__name__}."


def named(text: str, root: Path) -> Upload:
    """A folder, or an npz file, of the server. Raises UploadError outside MIXNN_FOLDERS."""
    path = _path(text.strip())
    if not roots():
        raise UploadError(
            "Folders of the server can be named only where MIXNN_FOLDERS was set when it started: "
            "upload a file instead."
        )
    if path is None or not _inside(path, roots()):
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
        layout, target = Layout(), own / plain_name(path.name)
        target.mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (target / "train").symlink_to(path)
    about = Upload(own.name, path.name, form, f"{form}:{target}", layout=layout, at=time.time())
    check(form, target, path.name, SMALLEST_SIDE)
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
    key = key_of(dataset, root)
    return None if key is None else find(key, root)


def key_of(dataset: str, root: Path) -> str | None:
    """The key of the upload that a data set lies in; None where it lies in none."""
    home, path = (root / FOLDER).resolve(), _path(dataset.partition(":")[2])
    if path is None or not path.is_relative_to(home) or path == home:
        return None
    key = path.relative_to(home).parts[0]
    return key if key.isalnum() else None


def may_read(dataset: str, root: Path) -> bool:
    """Whether a visitor may name this data set: the built-in ones, uploads, and MIXNN_FOLDERS.

    Of the folder of the runs only uploads, also where MIXNN_FOLDERS encloses it.
    """
    family, _, text = dataset.partition(":")
    if family not in ("npz", "folder") or key_of(dataset, root) is not None:
        return not has_control(dataset)
    return is_outside(dataset, root) and _inside(_path(text), roots())


def is_outside(dataset: str, root: Path) -> bool:
    """Whether a data set names a path, and one that lies outside the folder of the runs."""
    path = _path(dataset.partition(":")[2])
    return path is not None and not _inside(path, [root])


def roots() -> list[Path]:
    """The folders of the server that visitors may name, from MIXNN_FOLDERS."""
    given = os.environ.get("MIXNN_FOLDERS", "").split(os.pathsep)
    return [Path(part).expanduser().resolve() for part in given if part.strip()]


def clean(root: Path, now: float | None = None) -> int:
    """Remove uploads that no run was made of and nobody looked at for a day; returns how many.

    Runs that wait count, and those of sweeps in folders below root.
    What a server that was killed had begun goes at once.
    """
    used = set(_datasets(root))
    keys = {key_of(dataset, root) for dataset in used}
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
    """Seconds since somebody looked at an upload."""
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
    """A folder that is gone afterwards, and that other servers see in use."""
    with (
        tempfile.TemporaryDirectory(dir=home, prefix=NEW, ignore_cleanup_errors=True) as new,
        open(Path(new) / LOCK, "w") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(new)


def _is_held(own: Path) -> bool:
    """Whether a server works on it; one that was made a moment ago may have no lock yet."""
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
    """The data sets of all runs, first of those that wait: they may begin meanwhile."""
    for request in storage_of(root).queue():
        with contextlib.suppress(KeyError, TypeError):  # a fork has its parent's
            yield str(request["config"]["dataset"])
    for folder in run_table.folders_without_runs(root):
        for own in run_table.run_folders(folder):
            with contextlib.suppress(StoreError, KeyError, TypeError, RecursionError):
                yield str(read_json(own / "config.json")["config"]["dataset"])


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
    """The key of an upload: 16 hex digits made of its owner and the SHA-256 of its content."""
    both = hashlib.sha256(f"{owner} {content}".encode()).hexdigest()
    return (both if owner else content)[:16]


def _unpack(own: Path, later: Path, name: str, job: Job) -> Upload:
    """Unpack in a process of its own what was copied to own; later is where own will lie."""
    if shutil.disk_usage(own).free < SPARE + MOST_UNPACKED:
        raise UploadError("the server's disk is too full for it; ask whoever runs the server")
    found = jobs.run(own, name, job)
    dataset = f"{found['form']}:{later.resolve() / found['file']}"
    layout = Layout(**found["layout"] or {})
    return Upload(later.name, name, found["form"], dataset, tuple(found["notes"]), layout)


def _path(text: str) -> Path | None:
    """The path that a text names; None where it names none on any disk."""
    if has_control(text):
        return None
    try:
        return Path(text).expanduser().resolve()
    except (OSError, RuntimeError, ValueError):  # ~somebody who has no home here
        return None


def _inside(path: Path, folders: list[Path]) -> bool:
    real = path.resolve()
    return any(real.is_relative_to(folder.resolve()) for folder in folders)
