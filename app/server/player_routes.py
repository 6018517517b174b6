"""Addresses of the player: its script, the shipped recording, and recordings of visible runs.

Through Streamlit's websocket all bytes would come again with every rerun of a page. The script and
the shipped recording have a hash in their address and stay in the browser's cache. A recording of
runs grows: a request names the bytes that it has and gets those that follow. It carries a pass that
a page issued to its visitor, and each request checks again what this visitor may see.
"""

import asyncio
import base64
import contextlib
import functools
import gzip
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import engine.reports
from app.server import maps, run_cache
from app.server.endpoints import uploads
from app.server.pacing import BEHIND, pace, turns
from app.server.recordings import recordings
from app.server.run_info import RunInfo, RunsError
from app.server.streamlit_internals import session_id
from app.server.visible_runs import runs
from app.server.visitors import Visitor, acting_as, visitor
from engine.errors import EngineError
from engine.reports.bundle import bundle

if TYPE_CHECKING:
    from engine.runs.folder import RunFolder

PLAYER = Path(engine.reports.__file__).resolve().parent / "player"
SHIPPED = Path(__file__).resolve().parents[2] / "assets" / "digits.recording"
FOLDER = "recordings"  # first part of the addresses
PASS = "X-Player-Pass"  # noqa: S105 - the name of a header
ID, AT, WAIT = "X-Recording", "X-Recording-At", "X-Recording-Wait"  # headers of a response
LATER = "X-Recording-Later"
MAPS_EVERY = 4.0  # seconds between two requests of a viewer while maps are computed
EVERY = 1.2  # seconds between two requests of one viewer, more under load
FOREVER = "public, max-age=31536000, immutable"
COMMON = {"X-Content-Type-Options": "nosniff"}
# binary files are compressed already: without an encoding Streamlit would compress them again
BINARY = {**COMMON, "Content-Encoding": "identity"}

_SECRET = secrets.token_bytes(32)


@dataclass(frozen=True)
class File:
    """A file whose name has the hash of its content; zipped: by gzip, empty for a binary file."""

    name: str
    kind: str
    content: bytes
    zipped: bytes = b""

    @property
    def path(self) -> str:
        """Its address on this server."""
        return f"{base()}/{FOLDER}/{self.name}"


@functools.cache
def script() -> File:
    """The player as one module: `mount`, `label`, and `style`, the text of its style sheet."""
    style = json.dumps((PLAYER / "player.css").read_text())
    code = bundle(PLAYER / "main.js")
    code += (
        f'\nexport const {{ mount, label }} = modules["main.js"];\nexport const style = {style};\n'
    )
    content = code.encode()
    name = _hashed("player", content, "js")
    return File(name, "text/javascript", content, gzip.compress(content, 9, mtime=0))


@functools.cache
def shipped() -> File:
    """The recording of the opening page. Raises OSError."""
    content = SHIPPED.read_bytes()
    name = _hashed(SHIPPED.stem, content, "recording")
    return File(name, "application/octet-stream", content)


def files() -> list[File]:
    """The files of the opening page that exist: the script, and the recording if it is there."""
    found = [script()]
    with contextlib.suppress(OSError):
        found.append(shipped())
    return found


def runs_path() -> str:
    """The address of the recordings of runs."""
    return f"{base()}/{FOLDER}/runs"


def pass_for(names: Sequence[str]) -> str:
    """What requests for the recording of these runs carry, during the current visitor's session.

    Raises RunsError for a run that the visitor may not see.
    """
    for name in names:
        runs().info(name)
    holder = {"runs": [*names], "who": asdict(visitor()), "session": session_id()}
    text = base64.urlsafe_b64encode(json.dumps(holder).encode()).decode()
    return f"{text}.{_signature(text)}"


def holder_of(text: str) -> tuple[list[str], Visitor] | None:
    """The runs and the visitor of a pass; None if it is none, or if its session has ended."""
    packed, _, signature = text.partition(".")
    if not hmac.compare_digest(signature.encode(), _signature(packed).encode()):
        return None
    holder = json.loads(base64.urlsafe_b64decode(packed))
    if holder["session"] is not None and not uploads().is_active(holder["session"]):
        return None
    return holder["runs"], Visitor(**holder["who"])


async def serve_file(request: Request) -> Response:
    """A file by its name; any other name is not found."""
    name = request.path_params["name"]
    file = next((file for file in files() if file.name == name), None)
    if file is None:
        return _refused(404, "Not found")
    headers = {"Cache-Control": FOREVER, "Vary": "Accept-Encoding"}
    if not file.zipped:
        return Response(file.content, 200, headers | BINARY, file.kind)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(
            file.zipped, 200, headers | COMMON | {"Content-Encoding": "gzip"}, file.kind
        )
    return Response(file.content, 200, headers | COMMON, file.kind)


async def serve_runs(request: Request) -> Response:
    """The bytes of a recording from a position on, see `next_bytes`."""
    holder = holder_of(request.headers.get(PASS, ""))
    if holder is None:
        return _refused(403, "This page is no longer connected to the server: reload it")
    known, at = request.query_params.get("id", ""), request.query_params.get("at", "0")
    if not (at.isascii() and at.isdecimal() and len(at) < 12):
        return _refused(400, f"at = {at[:20]!r}: allowed is a number of bytes")
    return await asyncio.to_thread(next_bytes, *holder, known, int(at))


def next_bytes(names: list[str], who: Visitor, known: str, at: int) -> Response:
    """200 with the bytes from `at` on; 202 with a sentence while there is nothing to record yet.

    known: the id of the recording that the first `at` bytes are of; another one is sent whole. The
    header WAIT, the seconds until the next request, is missing where nothing more will come. LATER:
    seconds after which a recording with better maps may take its place.
    """
    try:
        with acting_as(who), turns.turn(since=time.monotonic() + BEHIND):
            infos = [runs().info(name) for name in names]
            for info in infos:
                if info.active:
                    runs().mark_watched(info.name)
            begun = {info.name: run for info in infos if (run := _begun(info))}
            soon = any(info.state == "running" and info.name not in begun for info in infos)
            if not begun or soon and not known:
                return _nothing_yet(infos)
            recording = recordings.of([*begun.values()])
            at = at if known == recording.id else 0
            content, ended = recording.since(at)
            live = not ended or any(info.active for info in infos)
            later = not live and maps.will_come([*begun.values()])
    except RunsError as error:
        return _refused(404, str(error))
    except EngineError as error:
        return _refused(422, str(error))
    headers = {ID: recording.id, AT: str(at), "Cache-Control": "no-store", **BINARY}
    if later:
        headers[LATER] = f"{pace.seconds((who.id, *names), MAPS_EVERY):.2f}"
    if live:
        headers[WAIT] = f"{pace.seconds((who.id, *names), EVERY):.2f}"
    return Response(content, 200, headers, "application/octet-stream")


def _begun(info: RunInfo) -> "RunFolder | None":
    """The run if it has an epoch."""
    if not (runs().folder(info.name) / "config.json").is_file():
        return None
    run = run_cache.run(info.name)
    return run if run.epochs else None


def _nothing_yet(infos: Sequence[RunInfo]) -> Response:
    """What runs without an epoch wait for, or why they never got one."""
    waiting = [info for info in infos if info.active]
    if not waiting:
        reason = next((info.message for info in infos if info.message), "")
        return _refused(404, reason or "This run ended before its first epoch")
    text = "The first epoch is being trained …"
    if all(info.state == "queued" for info in waiting):
        ahead = min(info.position for info in waiting) - 1
        order = "it is next" if ahead < 1 else f"runs ahead: {ahead}"
        text = f"Waiting in the queue: {order}."
    headers = {WAIT: f"{EVERY:g}", "Cache-Control": "no-store", **COMMON}
    return Response(text, 202, headers, "text/plain")


def _refused(status: int, reason: str) -> Response:
    return Response(reason, status, {"Cache-Control": "no-store", **COMMON}, "text/plain")


def _signature(text: str) -> str:
    return hmac.new(_SECRET, text.encode(), "sha256").hexdigest()


def _hashed(stem: str, content: bytes, extension: str) -> str:
    return f"{stem}-{hashlib.sha256(content).hexdigest()[:16]}.{extension}"


def base() -> str:
    """The path below which the server answers: server.baseUrlPath, with a leading slash."""
    base = str(st.get_option("server.baseUrlPath")).strip("/")
    return f"/{base}" if base else ""


def routes() -> list[Route]:
    """The addresses, for the server."""
    return [
        Route(runs_path(), serve_runs),
        Route(f"{base()}/{FOLDER}/{{name:path}}", serve_file),
    ]
