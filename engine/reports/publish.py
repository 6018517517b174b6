"""Runs as a page that needs no server: the player, images and tables.

One run, two to compare, or several seeds of one or of two, see `seeds.by_seed`.
"""

import base64
import contextlib
import hashlib
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from engine.analysis.label_export import labels_csv
from engine.errors import StoreError
from engine.reports import page
from engine.reports.bundle import bundle, inline
from engine.reports.recording import RecordingWriter
from engine.reports.seeds import by_seed
from engine.runs.folder import RunFolder

if TYPE_CHECKING:
    from engine.data import Data

HERE = Path(__file__).resolve().parent
PLAYER = HERE / "player"
RECORDING = "recording.js"  # of a folder: the recording as a script, which file:// may load
START = """
const { mount } = modules["main.js"];
const text = globalThis.mixnnRecording ?? document.getElementById("recording").textContent;
const bytes = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
mount(document.getElementById("player"), bytes, {});
"""


def html_page(runs: Sequence[RunFolder], data: "Data | None") -> str:
    """A self-contained page, which loads nothing and connects to nothing. Raises StoreError."""
    groups = _groups(runs)
    recording = _base64(_recorder(groups, data).to_bytes())
    element = f'<script type="application/octet-stream" id="recording">{recording}</script>'
    shown = page.results(*groups)
    start = "data:text/csv;charset=utf-8;base64,"
    links = {name: start + _base64(text) for name, text in _label_files(shown).items()}
    return _page(shown, data, links, element, "")


def publish(runs: Sequence[RunFolder], out: Path, data: "Data | None") -> int:
    """Write `html_page` to a file; returns its size in bytes. Raises StoreError."""
    return _write(out, html_page(runs, data).encode())


def publish_folder(runs: Sequence[RunFolder], out: Path, data: "Data | None") -> int:
    """Write a folder: index.html, and beside it the recording and the labels as CSV.

    Returns their size in bytes. Raises StoreError.
    """
    groups = _groups(runs)
    recording = _base64(_recorder(groups, data).to_bytes())
    shown = page.results(*groups)
    files = _label_files(shown)
    files[RECORDING] = f'globalThis.mixnnRecording = "{recording}";\n'.encode()
    element = f'<script src="{RECORDING}"></script>'
    links = {name: name for name in files}
    files["index.html"] = _page(shown, data, links, element, " 'self' file:").encode()
    return sum(_write(out / name, content) for name, content in files.items())


def publish_recording(runs: Sequence[RunFolder], out: Path, data: "Data | None") -> int:
    """Write the recording alone; returns its size in bytes. Raises StoreError."""
    return _write(out, _recorder(_groups(runs), data).to_bytes())


def _groups(runs: Sequence[RunFolder]) -> list[list[RunFolder]]:
    for run in runs:
        if not run.epochs:
            raise StoreError(f"{run.folder} has no epoch yet: there is nothing to publish")
    groups = by_seed(runs)
    if len(groups) > 2:
        kinds = ", ".join(group[0].folder.name for group in groups)
        raise StoreError(
            f"{len(groups)} kinds of runs ({kinds}): a page has one or two, and any number of "
            "seeds of each"
        )
    return groups


def _recorder(groups: Sequence[Sequence[RunFolder]], data: "Data | None") -> RecordingWriter:
    firsts = [group[0] for group in groups]
    return RecordingWriter(*firsts, data=data, seeds=[group[1:] for group in groups])


def _label_files(shown: Sequence[page.Result]) -> dict[str, bytes]:
    """The CSV files of the label issues, by name."""
    return {
        page.csv_name(result): labels_csv(result.run, result.issues).encode()
        for result in page.judging(shown)
    }


def _page(
    shown: Sequence[page.Result],
    data: "Data | None",
    links: Mapping[str, str],
    element: str,
    sources: str,
) -> str:
    """element: the one that holds or loads the recording. sources: of scripts beside the page's."""
    script = inline(bundle(PLAYER / "main.js") + START)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    style = (HERE / "page.css").read_text() + (PLAYER / "player.css").read_text()
    return Template((HERE / "page.html").read_text()).substitute(
        policy=f"default-src 'none'; script-src 'sha256-{digest}'{sources}; "
        "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'",
        title=html.escape(page.heading(shown)),
        lead=page.lead(shown),
        style=style,
        sections=page.sections(shown, data, links),
        recording=element,
        script=script,
    )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _write(path: Path, content: bytes) -> int:
    """Replace a file whole; returns its size in bytes. Raises StoreError."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from None
    return len(content)
