"""What the app uses of Streamlit beyond its documented interface: all of it, and only here.

Another version may have these elsewhere, or not at all. Each function then returns None, and its
users do without.
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

THREAD = "ScriptRunner"  # how the names of threads begin that draw a page


def _context() -> Any | None:
    return None if get_script_run_ctx is None else get_script_run_ctx(suppress_warning=True)


def on_page() -> bool:
    """Whether this thread draws a page for a visitor."""
    if get_script_run_ctx is None:
        return threading.current_thread().name.startswith(THREAD)
    return _context() is not None


def session_id() -> str | None:
    """Streamlit's own name of the visitor's session; None outside a page."""
    return getattr(_context(), "session_id", None)


def history_navigation() -> bool | None:
    """Whether the visitor came here by Back or Forward; None where Streamlit does not say."""
    return getattr(_context(), "is_history_navigation", None)


def browser_token(cookie: str) -> bytes | None:
    """The random token of a browser, out of Streamlit's cookie; None where there is none."""
    return None if decode_xsrf_token_string is None else decode_xsrf_token_string(cookie)[0]


def runtime() -> Any | None:
    """The server's runtime; None where no server runs, such as in a test."""
    try:
        return _runtime.get_instance() if _runtime.exists() else None
    except AttributeError:
        return None


def media_url(content: bytes, mimetype: str, name: str) -> str | None:
    """The path of a file that the server keeps in memory while this session is there."""
    manager = getattr(runtime(), "media_file_mgr", None)
    return None if manager is None else manager.add(content, mimetype, name)
