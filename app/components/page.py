"""The parts of every page: its head with the terms it uses, its errors and its empty state."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app.components.glossary import GLOSSARY, word
from app.components.messages import empty, explain, guarded
from app.state.url_state import bound, get

__all__ = ["empty", "explain", "guarded", "head", "parts", "switch", "word"]


def head(title: str, sentence: str, *terms: str) -> None:
    """The title of a page, one or two sentences on what it shows, and its terms (of GLOSSARY)."""
    with st.container(horizontal=True, vertical_alignment="center", key="page-head"):
        st.header(title, anchor=False, width="content")
        st.space("stretch")
        if terms:
            with st.popover("Terms", icon=":material/help:", width="content"):
                for term in terms:
                    st.markdown(f"**{term}** {GLOSSARY[term]}")
    st.markdown(sentence)


def parts(titles: Mapping[str, str], first: str | None = None) -> str:
    """A choice of the parts of a page; returns the key of the one to draw, the others cost nothing.

    titles: key in the URL -> title. first: the key that is chosen where the URL names none of them,
    by default the first one.
    """
    chosen = get("part") if get("part") in titles else first or next(iter(titles))
    switch("Part of the page", titles, **bound("part", chosen, instead=True))
    return chosen


def switch(label: str, titles: Mapping[Any, str], **options: Any) -> None:
    """Buttons of which one is always on. label: for screen readers. titles: value -> text.

    options: of st.segmented_control, such as what `url_state.bound` returns.
    """
    st.segmented_control(
        label,
        list(titles),
        format_func=titles.__getitem__,
        required=True,
        label_visibility="collapsed",
        **options,
    )
