"""The share link of a private run: created, shown and revoked by its owner."""

from urllib.parse import urlencode

import streamlit as st

from app.components.messages import guarded
from app.server.visible_runs import runs
from app.server.visitors import visitor


def share(name: str) -> None:
    """A button "Share" for a private run that the visitor may control; a note for whom it is shared
    with; nothing for a public run.
    """
    me = visitor()
    if not runs().private(name):
        return
    if not runs().may_control(name, me):
        st.caption("Shared with you: view only.")
        return
    with st.popover("Share", icon=":material/share:"):
        key = runs().link_key(name)
        if not key:
            st.markdown("Only you and the teacher see this run. A link lets others view it.")
            st.button(
                "Create a link",
                key=f"share-{name}",
                disabled=not runs().trains_here,
                on_click=guarded(runs().share_link),
                args=(name, me),
            )
            return
        st.markdown(
            "Anyone with this link can view this run: its images, labels, decisions and downloads. "
            "They cannot control it, decide on its labels or fork it."
        )
        address = (st.context.url or "").partition("?")[0]
        st.code(f"{address}?{urlencode({'run': name, 'key': key})}", language=None)
        st.button(
            "Revoke the link",
            key=f"revoke-{name}",
            icon=":material/link_off:",
            on_click=guarded(runs().revoke),
            args=(name, me),
        )
