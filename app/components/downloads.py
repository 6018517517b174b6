"""Downloads that are created on click, after a new check of the visitor's access."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from app.server.run_info import RunsError, not_found
from app.server.visible_runs import runs
from app.server.visitors import acting_as, runs_read, visitor


def button(label: str, make: Callable[[], str | bytes], file_name: str, **options: Any) -> None:
    """A button that saves a file, which `make` creates when the button is clicked.

    options: of st.download_button. Streamlit calls back in a thread without a page, possibly long
    after a share link was revoked, and for anyone who knows the file's identifier: so `make` runs
    as the visitor of the page with the button, and only if they may still view every run that the
    page had read. If it raises, the browser gets an error and no file.
    """
    st.download_button(
        label,
        gated(make),
        file_name=file_name,
        on_click="ignore",
        **{"icon": ":material/download:"} | options,
    )


def gated(make: Callable[[], str | bytes]) -> Callable[[], str | bytes]:
    """The same function for any thread, acting as the visitor of this page; see `button`.

    Raises RunsError if the visitor may no longer view a run that the page had read.
    """
    who, names = visitor(), runs_read()

    def make_if_allowed() -> str | bytes:
        with acting_as(who):
            for name in sorted(names):
                if not runs().sees(name):
                    raise RunsError(not_found(name))
            return make()

    return make_if_allowed
