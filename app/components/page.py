"""The head of a page, its empty state, and the guard that turns an exception into a message."""

import functools
import logging
from collections.abc import Callable
from typing import Any

import streamlit as st

from app.components.glossary import WORDS
from app.server import escaping
from app.state.url_state import link
from engine.errors import EngineError

log = logging.getLogger(__name__)


def head(title: str, sentence: str, *words: str) -> None:
    """The head of a page: its question, what one sees and why it matters, its terms."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(title, anchor=False, width="content")
        st.space("stretch")
        if words:
            with st.popover("Words", icon=":material/help:", width="content"):
                for word in words:
                    st.markdown(f"**{word}** {WORDS[word]}")
    st.markdown(sentence)


def word(name: str) -> str:
    """The explanation of a term, for a widget's help."""
    return WORDS[name]


def explain(error: Exception) -> None:
    """Say on the page, as plain text, what went wrong; a traceback goes to the server's log."""
    said = escaping.markdown(error, escaping.MOST_ERROR)
    if isinstance(error, EngineError):
        st.error(said, icon=":material/error:")
        return
    log.error("a page failed", exc_info=error)
    st.error(
        f"Something went wrong here that should not: {type(error).__name__}: {said}. Your runs "
        "and choices are safe. Reload the page; if it happens again, the server's log says where.",
        icon=":material/error:",
    )


def guarded(function: Callable) -> Callable:
    """A function, such as a fragment's, whose failure becomes a box on the page."""

    @functools.wraps(function)
    def safe(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            explain(error)
            return None

    return safe


def empty(
    text: str, page: str = "views/train/page.py", label: str = "Open Train", **changes
) -> None:
    """Nothing to show yet: say what to do next, with a link; the page ends here."""
    with st.container(border=True, horizontal_alignment="center"):
        st.markdown(text)
        st.page_link(
            page, label=label, icon=":material/arrow_forward:", query_params=link(**changes)
        )
    st.stop()
