"""The share link of a private run: made, shown and revoked by its owner."""

from urllib.parse import urlencode

import streamlit as st

from app.components import page
from app.server.visible_runs import runs
from app.server.visitors import visitor


def share(name: str) -> None:
    """A button "Share" for a private run that the visitor may steer; else nothing, or a word."""
    me = visitor()
    if not runs().private(name):
        return
    if not runs().may_control(name, me):
        st.caption("Shared with you to look at.")
        return
    with st.popover("Share", icon=":material/share:"):
        key = runs().link_key(name)
        if not key:
            st.markdown("Only you and the teacher see this run. A link lets others look at it.")
            st.button(
                "Make a link",
                key=f"share-{name}",
                disabled=not runs().alone,
                on_click=page.guarded(runs().share_link),
                args=(name, me),
            )
            return
        st.markdown(
            "Whoever has this link sees this run: its images, labels, decisions and downloads. "
            "They cannot steer it, decide or train on it."
        )
        address = (st.context.url or "").partition("?")[0]
        st.code(f"{address}?{urlencode({'run': name, 'key': key})}", language=None)
        st.button(
            "Revoke the link",
            key=f"revoke-{name}",
            icon=":material/link_off:",
            on_click=page.guarded(runs().revoke),
            args=(name, me),
        )
