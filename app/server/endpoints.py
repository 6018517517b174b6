"""What Streamlit lets any client do without a page of ours: narrowed to what our pages need.

- /_stcore/upload_file takes files only for a session whose page shows an uploader, up to a limit;
- /_stcore/metrics says nothing;
- no client can clear the caches of all, among them the registry of runs.

Streamlit's routes stand before any page runs, and ask objects that can be reached: the runtime
whether a session is there, the manager of uploaded files to keep one, the manager of statistics.
`fits` says whether the installed Streamlit has them as expected.
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
PER_SESSION = 2  # times the largest upload: bytes that one session may keep in memory
IN_ALL = 2000  # MB that all sessions may keep, unless MIXNN_UPLOADS_TOTAL_MB says otherwise
SHOWN = "endpoints.uploader"  # of the session: this page shows an uploader
USED = {  # what is replaced or read below
    "": ("is_active_session", "uploaded_file_mgr", "stats_mgr"),
    "uploaded_file_mgr": ("add_file", "file_storage", "remove_session_files"),
    "stats_mgr": ("registered_families", "get_stats"),
}


class Uploads:
    """Which sessions show a file uploader, and how much they may keep."""

    def __init__(self, most_each: int, most: int):
        self.most_each, self.most = most_each, most
        self._lock = threading.Lock()
        self._waiting: set[str] = set()
        self._active: Callable[[str], bool] = lambda session: True

    def wait_for(self, session: str, on: bool) -> None:
        """The session's page shows an uploader, or shows none any more."""
        with self._lock:
            self._waiting = {s for s in self._waiting if s != session and self._active(s)}
            if on:
                self._waiting.add(session)

    def waits(self, session: str) -> bool:
        with self._lock:
            return session in self._waiting

    def narrow(self, run: Any) -> None:
        """Make a Streamlit runtime ask here before it reads or keeps a file, and give no metrics.

        Raises AttributeError where it is not as expected.
        """
        files, stats = run.uploaded_file_mgr, run.stats_mgr
        self._active, add = run.is_active_session, files.add_file

        def is_active_session(session_id: str) -> bool:  # asked before a file is read
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
        """Raise HTTPException (413) where a file does not fit any more."""
        kept = {s: dict(there) for s, there in list(storage.items())}
        kept.get(session, {}).pop(file.file_id, None)  # the same one again replaces it
        sizes = {s: sum(len(f.data) for f in there.values()) for s, there in kept.items()}
        size = len(file.data)
        if sizes.get(session, 0) + size > self.most_each or sum(sizes.values()) + size > self.most:
            log.warning("an upload of %d MB was refused: too much is in memory", size // MB)
            raise HTTPException(413, "Too many uploads are in memory: reload the page, or wait")


def fits(run: Any) -> bool:
    """Whether a Streamlit runtime has all that `Uploads.narrow` replaces."""
    return hasattr(AppSession, "_handle_clear_cache_request") and all(
        hasattr(getattr(run, part) if part else run, name)
        for part, names in USED.items()
        for name in names
    )


@st.cache_resource(show_spinner=False)
def uploads() -> Uploads:
    """The one of this server; it narrows the server's runtime when it is made."""
    largest = st.get_option("server.maxUploadSize") * 1024 * 1024
    most = number("MIXNN_UPLOADS_TOTAL_MB", IN_ALL)
    made = Uploads(PER_SESSION * largest, int(most * MB))
    run = runtime()
    if run is not None and fits(run):
        made.narrow(run)
    elif run is not None:
        log.warning("this Streamlit is not as expected: metrics and uploads stay unbounded")
    return made


@contextlib.contextmanager
def page() -> Iterator[None]:
    """Around the drawing of a page: it waits for files if it showed an uploader."""
    st.session_state[SHOWN] = False
    try:
        yield
    finally:
        _wait(st.session_state.get(SHOWN, False))


def expect_file() -> None:
    """To be called beside an uploader: files may come."""
    st.session_state[SHOWN] = True
    _wait(True)


def _wait(on: bool) -> None:
    session = session_id()
    if session is not None:
        uploads().wait_for(session, on)
