"""The process that unpacks and decodes one upload, under limits that it cannot lift.

    python -m app.server.uploads.sandbox '{"own": "/folder", "name": "mine.zip", "limits": {...}}'

It writes one JSON object per line: {"done": ["Files unpacked", 3, 10]} while it works, and at the
end {"taken": {...}} or {"refused": "why"}. A harmful upload can only harm this process, so that the
server continues. It imports neither torch nor Streamlit.
"""

import contextlib
import ctypes
import json
import os
import re
import resource
import signal
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from app.server.uploads.contents import Report, check_arrays, check_counts, unpack_images
from app.server.uploads.limits import Limits
from app.server.uploads.paths import INCOMING
from app.server.uploads.safe_zip import MOST_UNPACKED, UploadError, opened
from engine.data import features, folder, manifest, npz, tables
from engine.data.image_files import Settings
from engine.data.layout import Layout
from engine.data.memory import MB
from engine.data.npz_headers import are_features
from engine.data.parts import Arrays, Notes
from engine.errors import DataError

MOST_SIDE = 256  # pixels of an array's images; image files are shrunk by the loader
SLACK = 96 * MB  # address space of Python, zlib and Pillow in addition to the data
NICENESS = 10
EVERY = 0.2  # seconds between two progress messages
PR_SET_PDEATHSIG = 1


def unpack(own: Path, name: str, limits: Limits, smallest: int, report: Report) -> dict[str, Any]:
    """Check own/.file and unpack it there; returns form, file, notes, left_out, layout.

    name: of the upload, for messages. smallest: fewest pixels of an image's shorter side. Raises
    UploadError.
    """
    path, plain = own / INCOMING, plain_name(name)
    if path.stat().st_size == 0:
        raise UploadError("it is empty")
    form, layout = "npz", None
    notes = Notes()
    if (suffix := Path(name).suffix.lower()) in tables.SUFFIXES:
        form, path, notes = "features", *pack_table(own, f"{plain}{suffix}", report)
        return _taken(form, path, notes, None)
    if not zipfile.is_zipfile(path):
        allowed = ", ".join(tables.SUFFIXES)
        raise UploadError(f"it is neither an .npz file nor a .zip file, nor a table ({allowed})")
    with opened(path) as archive:
        if archive.members and all(m.filename.endswith(".npy") for m in archive.members):
            check_arrays(archive, report)
            names = [member.filename for member in archive.members]
            form = "features" if are_features(names) else "npz"
            path = path.rename(own / f"{plain}.npz")
        else:
            form = "folder"
            layout, notes = unpack_images(archive, own / plain, limits, report)
            path = own / plain  # the zip stays, to hand back what is no image as it came
    try:
        check(form, path, name, smallest, limits.memory, report)
    except UploadError as error:  # what was left out may be the reason
        raise UploadError(" ".join([f"{error}.", *notes]).removesuffix(".")) from None
    return _taken(form, path, notes, layout)


def _taken(form: str, path: Path, notes: Notes, layout: Layout | None) -> dict[str, Any]:
    packed = None if layout is None else asdict(layout)
    return {
        "form": form,
        "file": path.name,
        "notes": notes,
        "left_out": notes.left_out,
        "layout": packed,
    }


def pack_table(own: Path, name: str, report: Report) -> tuple[Path, Notes]:
    """Write the features of the table own/.file to an .npz beside it; returns its path and notes.

    The server reads that instead: it is no Parquet, and names no files. Raises UploadError.
    """
    report("Rows read", 0, 1)
    path = own / name
    os.link(own / INCOMING, path)  # its suffix says how it is read
    try:
        arrays, rows = features.read(name, path)
    except DataError as error:
        text = _plain(error, path, name)
        if "has no column of features" in text or "different texts" in text:
            text += "; to bring images and a table of their labels, put both into one .zip"
        raise UploadError(text) from None
    finally:
        path.unlink()
    check_counts(len(arrays.classes), len(arrays.labels))
    with open(packed := path.with_suffix(".npz"), "wb") as out:
        features.write_npz(arrays, rows, out)
    return packed, Notes(arrays.notes, arrays.left_out)


def check(
    form: str,
    path: Path,
    name: str,
    smallest: int,
    most_memory: int | None = None,
    report: Report = lambda what, done, total: None,
) -> None:
    """Decode a data set once. Raises UploadError if no run can use it. Arguments as of `unpack`."""
    data: Arrays
    try:
        if form == "features":
            report("Rows read", 0, 1)
            data, _ = features.read(name, path)
        elif form == "npz":
            report("Arrays decoded", 0, 1)
            data = npz.read(name, path, Settings(most_memory=most_memory))
        elif form == "manifest":
            data = manifest.read(name, path, Settings(most_memory=most_memory))
        else:
            decoded = lambda done, total: report("Images decoded", done, total)  # noqa: E731
            data = folder.read(name, path, Settings(most_memory=most_memory, report=decoded))
    except DataError as error:
        raise UploadError(_plain(error, path, name)) from None
    check_counts(len(data.classes), len(data.labels))
    if form == "features":
        return
    _, height, width = data.images.shape[1:]
    if min(height, width) < smallest or max(height, width) > MOST_SIDE:
        raise UploadError(
            f"its images have {width} x {height} pixels; allowed are sides of {smallest} to "
            f"{MOST_SIDE}"
        )


def _plain(error: DataError, path: Path, name: str) -> str:
    """A message as the visitor calls the file."""
    return str(error).replace(str(path), name).removeprefix(f"{name}: ").removeprefix(f"{name} ")


def plain_name(name: str) -> str:
    """A file name as a plain name: "my pets (2).zip" becomes "my-pets-2"."""
    return re.sub(r"[^A-Za-z0-9]+", "-", Path(name).stem).strip("-")[:30] or "data"


def confine(limits: Limits) -> None:
    """Limit this process for good: address space, CPU time, file sizes; it ends with its parent."""
    with contextlib.suppress(OSError, AttributeError):  # Linux
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        Path("/proc/self/oom_score_adj").write_text("1000")  # to be killed before the server
    os.nice(NICENESS)
    mapped = 0
    with contextlib.suppress(OSError):
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    seconds = max(1, int(limits.seconds))
    for kind, most in (
        (resource.RLIMIT_AS, mapped + limits.memory + SLACK),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, MOST_UNPACKED + MB),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(OSError, ValueError):  # macOS has no limit of the address space
            resource.setrlimit(kind, (most, most + (1 if kind == resource.RLIMIT_CPU else 0)))


def _reporter(send: Callable[[dict], None]) -> Report:
    last = 0.0

    def report(what: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() > last + EVERY:
            last = time.monotonic()
            send({"done": [what, done, total]})

    return report


def main(request: dict[str, Any], send: Callable[[dict], None]) -> None:
    """Unpack one upload under limits; send takes its messages."""
    limits = Limits(**request["limits"])
    confine(limits)
    np.seterr(all="ignore")  # invalid numbers are refused with a message
    last: dict[str, Any]
    try:
        own = Path(request["own"])
        last = {"taken": unpack(own, request["name"], limits, request["smallest"], _reporter(send))}
    except UploadError as error:
        last = {"refused": str(error)}
    except MemoryError:
        last = {"refused": f"it takes more memory than the {limits.memory // MB:,} MB allowed"}
    send({"peak": _peak()})
    send(last)


def _peak() -> int:
    """Peak memory so far in bytes, 0 if unknown. getrusage would include the parent's."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), lambda message: print(json.dumps(message), flush=True))
