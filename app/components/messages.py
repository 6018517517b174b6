"""What a page says when something failed or there is nothing to show yet."""

import functools
import logging
from collections.abc import Callable
from typing import Any, NoReturn

import streamlit as st

from app.server import escaping
from app.state.url_state import link
from engine.errors import EngineError

log = logging.getLogger(__name__)


def explain(error: Exception) -> None:
    """Show an error as a box of plain text; the traceback of an unexpected one is logged."""
    message = escaping.markdown(error, escaping.MOST_ERROR)
    if isinstance(error, EngineError):
        st.error(message, icon=":material/error:")
        return
    log.error("a page failed", exc_info=error)
    st.error(
        f"Unexpected error: {type(error).__name__}: {message}. This is a bug; your runs and "
        "settings are safe. Reload the page; if it happens again, see the server's log.",
        icon=":material/error:",
    )


def guarded(function: Callable) -> Callable:
    """The same function, whose exceptions become a box on the page; it then returns None."""

    @functools.wraps(function)
    def safe(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            explain(error)
            return None

    return safe


def empty(
    text: str, page: str = "views/train/page.py", label: str = "Open Train", **changes: Any
) -> NoReturn:
    """An empty state: what to do next, and a link to a page; the page ends here.

    changes: of the URL parameters of that link.
    """
    with st.container(border=True, horizontal_alignment="center"):
        st.markdown(text)
        st.page_link(
            page, label=label, icon=":material/arrow_forward:", query_params=link(**changes)
        )
    st.stop()
