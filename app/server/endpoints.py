"""Streamlit's own endpoints, restricted to what the pages need.

- /_stcore/upload_file takes files only for a session whose page shows an uploader, up to a limit;
- /_stcore/metrics returns nothing;
- no client can clear the server's caches, among them the manager of the runs.

Streamlit's routes run before any page does, and call objects that can be replaced: the runtime
(is a session active?), the manager of uploaded files, and the manager of statistics. `is_supported`
checks whether the installed Streamlit has them.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import streamlit as st
from starlette.exceptions import HTTPException

from app.server.environment import number
from app.server.streamlit_internals import AppSession, runtime, session_id

log = logging.getLogger(__name__)
MB = 1_000_000
PER_SESSION = 2  # times the largest upload: the most that one session may hold in memory
IN_ALL = 2000  # MB that all sessions may hold, unless MIXNN_UPLOADS_TOTAL_MB is set
SHOWN = "endpoints.uploader"  # session key: whether the page shows an uploader
USED = {  # what is replaced or read below
    "": ("is_active_session", "uploaded_file_mgr", "stats_mgr"),
    "uploaded_file_mgr": ("add_file", "file_storage", "remove_session_files"),
    "stats_mgr": ("registered_families", "get_stats"),
}


class Uploads:
    """Which sessions show a file uploader, and how much they may hold in memory.

    most_each, most: bytes of one session and of all sessions.
    """

    def __init__(self, most_each: int, most: int):
        self.most_each, self.most = most_each, most
        self._lock = threading.Lock()
        self._waiting: set[str] = set()
        self._active: Callable[[str], bool] = lambda session: True

    def wait_for(self, session: str, on: bool) -> None:
        """Note whether the session's page shows an uploader."""
        with self._lock:
            self._waiting = {s for s in self._waiting if s != session and self._active(s)}
            if on:
                self._waiting.add(session)

    def is_active(self, session: str) -> bool:
        """Whether a session exists, with or without an uploader."""
        return self._active(session)

    def waits(self, session: str) -> bool:
        """Whether the session's page shows an uploader."""
        with self._lock:
            return session in self._waiting

    def restrict(self, run: Any) -> None:
        """Make a Streamlit runtime check here before it reads or keeps a file, and give no metrics.

        Raises AttributeError if it lacks a part, see `is_supported`.
        """
        files, stats = run.uploaded_file_mgr, run.stats_mgr
        self._active, add = run.is_active_session, files.add_file

        def is_active_session(session_id: str) -> bool:  # called before a file is read
            return self.waits(session_id) and self._active(session_id)

        def add_file(session_id: str, file: Any) -> None:
            with self._lock:
                self._check_room(files.file_storage, session_id, file)
                add(session_id, file)

        run.is_active_session, files.add_file = is_active_session, add_file
        stats.registered_families = list
        stats.get_stats = lambda family_names=None: {}
        # a method of Streamlit, replaced on purpose
        AppSession._handle_clear_cache_request = lambda _: None  # type: ignore[assignment,method-assign]

    def _check_room(self, storage: dict, session: str, file: Any) -> None:
        """Raise HTTPException (413) if a file exceeds a limit."""
        kept = {s: dict(files) for s, files in list(storage.items())}
        kept.get(session, {}).pop(file.file_id, None)  # the same file again replaces it
        sizes = {s: sum(len(f.data) for f in files.values()) for s, files in kept.items()}
        size = len(file.data)
        if sizes.get(session, 0) + size > self.most_each or sum(sizes.values()) + size > self.most:
            log.warning("an upload of %d MB was refused: too much is in memory", size // MB)
            raise HTTPException(413, "Too many uploads are in memory: reload the page, or wait")


def is_supported(run: Any) -> bool:
    """Whether a Streamlit runtime has everything that `Uploads.restrict` replaces."""
    return hasattr(AppSession, "_handle_clear_cache_request") and all(
        hasattr(getattr(run, part) if part else run, name)
        for part, names in USED.items()
        for name in names
    )


@st.cache_resource(show_spinner=False)
def uploads() -> Uploads:
    """The server's `Uploads`; restricts the server's runtime when it is created."""
    largest = st.get_option("server.maxUploadSize") * 1024 * 1024
    most = number("MIXNN_UPLOADS_TOTAL_MB", IN_ALL)
    uploads = Uploads(PER_SESSION * largest, int(most * MB))
    run = runtime()
    if run is not None and is_supported(run):
        uploads.restrict(run)
    elif run is not None:
        log.warning("this Streamlit is not supported: metrics and uploads are not restricted")
    return uploads


@contextlib.contextmanager
def page() -> Iterator[None]:
    """Context of a page's run: afterwards the session takes files if it showed an uploader."""
    st.session_state[SHOWN] = False
    try:
        yield
    finally:
        _wait(st.session_state.get(SHOWN, False))


def expect_file() -> None:
    """Call it next to an uploader: the session takes files from now on."""
    st.session_state[SHOWN] = True
    _wait(True)


def _wait(on: bool) -> None:
    session = session_id()
    if session is not None:
        uploads().wait_for(session, on)
