"""The parts of every page: its head with the terms it uses, its errors and its empty state."""

import streamlit as st

from app.components.glossary import GLOSSARY, word
from app.components.messages import empty, explain, guarded

__all__ = ["empty", "explain", "guarded", "head", "word"]


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
