"""Files that are made when they are asked for, if whoever asks may still see what they hold."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from app.server.run_info import RunsError, not_found
from app.server.visible_runs import runs
from app.server.visitors import acting_as, runs_read, visitor


def button(label: str, make: Callable[[], str | bytes], file_name: str, **options: Any) -> None:
    """A button that saves a file, made when it is clicked.

    options: of st.download_button. Streamlit calls back in a thread without a page, also long after
    a share link was revoked, and for whoever knows the number of the file: so `make` runs as the
    visitor who drew the button, and only if that one still sees every run that the page had read.
    Where it raises, the browser gets an error and no file.
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

    Raises RunsError where the visitor no longer sees a run that the page had read.
    """
    who, names = visitor(), runs_read()

    def made() -> str | bytes:
        with acting_as(who):
            for name in sorted(names):
                if not runs().sees(name):
                    raise RunsError(not_found(name))
            return make()

    return made
