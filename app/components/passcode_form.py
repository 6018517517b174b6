"""The form for the teacher's passcode; who entered it stays the teacher in this browser."""

import os

import streamlit as st

from app.server.passcode import passcodes
from app.server.visitors import TEACHER, visitor


def recall() -> None:
    """Make the visitor the teacher if this browser gave the passcode; call it before a page."""
    if TEACHER not in st.session_state and os.environ.get("MIXNN_PASSCODE"):
        st.session_state[TEACHER] = passcodes().is_unlocked(visitor())


def form(*, expanded: bool = False) -> None:
    """The form, or for the teacher a button that locks this browser again."""
    if visitor().teacher:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.success(
                "You are the teacher here: you can view, control and stop every run.",
                icon=":material/school:",
            )
            if st.session_state.get(TEACHER):
                st.button("Lock", icon=":material/lock:", key="passcode-lock", on_click=lock)
        return
    with st.expander("I am the teacher", icon=":material/key:", expanded=expanded):
        if not os.environ.get("MIXNN_PASSCODE", ""):
            st.markdown(
                "Start the server with the environment variable `MIXNN_PASSCODE` to use this. "
                "Without it, everyone may start a class on Lesson."
            )
            return
        with st.form("passcode", border=False):
            entered = st.text_input("Passcode", type="password")
            if st.form_submit_button("Unlock"):
                refusal = passcodes().unlock(entered, visitor())
                if not refusal:
                    st.session_state[TEACHER] = True
                    st.rerun()
                st.error(refusal)


def lock() -> None:
    """The visitor is not the teacher any more, in this browser."""
    passcodes().lock(visitor())
    st.session_state[TEACHER] = False
