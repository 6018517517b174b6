"""All that the app uses of Streamlit beyond its public API.

Other versions may lack some of it. The functions then return None, and their callers do without.
"""

import threading
from typing import Any

try:
    from streamlit.runtime.scriptrunner import get_script_run_ctx
except ImportError:
    get_script_run_ctx = None  # type: ignore[assignment]  # absent
try:
    from streamlit.web.server.starlette.starlette_app_utils import decode_xsrf_token_string
except ImportError:
    decode_xsrf_token_string = None  # type: ignore[assignment]  # absent
try:
    from streamlit.runtime.app_session import AppSession
except ImportError:
    AppSession = None  # type: ignore[assignment,misc]  # absent
try:
    from streamlit import runtime as _runtime
except ImportError:
    _runtime = None  # type: ignore[assignment]  # absent

THREAD = "ScriptRunner"  # prefix of the names of threads that run a page
LATER, MOST_TRIES = 0.02, 250  # seconds until a fragment is requested again; five seconds at most


def _context() -> Any | None:
    return None if get_script_run_ctx is None else get_script_run_ctx(suppress_warning=True)


def on_page() -> bool:
    """Whether this thread runs a page for a visitor."""
    if get_script_run_ctx is None:
        return threading.current_thread().name.startswith(THREAD)
    return _context() is not None


def session_id() -> str | None:
    """Streamlit's id of the visitor's session; None outside a page."""
    return getattr(_context(), "session_id", None)


def history_navigation() -> bool | None:
    """Whether the visitor came here by Back or Forward; None if unknown."""
    return getattr(_context(), "is_history_navigation", None)


def browser_token(cookie: str) -> bytes | None:
    """The random token of a browser from Streamlit's cookie; None if it has none."""
    return None if decode_xsrf_token_string is None else decode_xsrf_token_string(cookie)[0]


def runtime() -> Any | None:
    """The server's runtime; None without a server, for example in a test."""
    try:
        return _runtime.get_instance() if _runtime.exists() else None
    except AttributeError:
        return None


def media_url(content: bytes, mimetype: str, name: str) -> str | None:
    """The URL path of a file that the server keeps in memory while this session exists."""
    manager = getattr(runtime(), "media_file_mgr", None)
    return None if manager is None else manager.add(content, mimetype, name)


def send_pages_whole() -> None:
    """Let a fragment wait until the page before it was sent; call it once, before the first page.

    Streamlit starts a new script runner for a fragment as soon as that of the page has ended, and
    drops what the page has drawn but the event loop has not passed on yet. On a busy server the
    page then stays incomplete, or the browser reports a "Bad delta path index".
    """
    request = getattr(AppSession, "request_rerun", None)
    if request is None:
        return

    def request_rerun(session: Any, client_state: Any, tries: int = 0) -> None:
        waits = client_state and client_state.fragment_id and _has_ended(session)
        if waits and tries < MOST_TRIES:
            loop = session._event_loop
            loop.call_later(LATER, request_rerun, session, client_state, tries + 1)
        else:
            request(session, client_state)

    AppSession.request_rerun = request_rerun  # type: ignore[assignment,method-assign]


def _has_ended(session: Any) -> bool:
    """Whether a session has a script runner that takes no more requests."""
    requests = getattr(getattr(session, "_scriptrunner", None), "_requests", None)
    return getattr(getattr(requests, "_state", None), "name", "") == "STOP"
