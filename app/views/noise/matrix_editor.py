"""A transition matrix that the visitor edits, and takes into the settings of the next run."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from app.components import downloads
from app.server import endpoints, escaping
from app.state.url_state import get, link, put
from app.views.noise import tables
from engine.config import RunConfig
from engine.errors import NoiseError

TABLE, ROUND = "matrix.table", "matrix.round"  # what is edited; its number of fresh starts
WORST = 5  # problems that are named


def editor(names: Sequence[str], current: np.ndarray | None, of: RunConfig | None) -> None:
    """The table with its tools.

    current: (C, C), what to start from. of: the settings of the run that is looked at, None where
    the settings of the next run are.
    """
    st.subheader("A noise of your own", anchor=False)
    st.markdown(
        "Each row is a true class; its cells say which share is given which label, so every row "
        "adds up to 1. Change cells, then use the table for the next run."
    )
    start = _start(len(names), current)
    table = _table(names, start)
    edited = st.data_editor(
        table,
        key=f"matrix-{st.session_state[ROUND]}",
        num_rows="fixed",
        width="stretch",
        height=min(38 + 35 * len(names), 460),
        alt="Transition matrix to be edited",
        column_config={
            "_index": st.column_config.Column("true \\ given", pinned=True, disabled=True),
            **{
                name: st.column_config.NumberColumn(
                    min_value=0.0, max_value=1.0, step=0.00001, format="%.3g", width="small"
                )
                for name in table.columns
            },
        },
    )
    wrong = tables.problems(edited)
    _tools(names, start, edited, wrong, of)
    for sentence in wrong[:WORST]:
        st.warning(escaping.lines(sentence), icon=":material/warning:")
    if len(wrong) > WORST:
        st.caption(f"And {len(wrong) - WORST} rows more.")


def _tools(names, start: np.ndarray, edited: pd.DataFrame, wrong: list[str], of) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", key="matrix-tools"):
        st.button(
            "Use this table",
            type="primary",
            disabled=bool(wrong),
            on_click=_use,
            args=(edited, of),
            help="Noise model “matrix” for the next run; Train starts it.",
        )
        st.button(
            "Make rows add up to 1",
            disabled=not wrong,
            on_click=_restart,
            args=(tables.normalized(edited),),
        )
        st.button(
            "Start over",
            on_click=_restart,
            args=(tables.frame(start, names),),
            help="Back to the noise shown above.",
        )
        downloads.button(
            "Save as CSV", lambda: tables.to_csv(edited), "noise-matrix.csv", mime="text/csv"
        )
        with st.popover("Load a CSV", icon=":material/upload:"):
            _upload(names)
        if get("noise") == "matrix" and get("noise_matrix") is not None:
            st.page_link(
                "views/train/page.py",
                label="Start it on Train",
                icon=":material/play_circle:",
                query_params=link(),
            )


def _upload(names: Sequence[str]) -> None:
    """Take a file into the table, once."""
    endpoints.expect_file()
    file = st.file_uploader(
        f"A table of {len(names)} × {len(names)} numbers, with or without class names",
        type="csv",
        max_upload_size=1,
        key=f"matrix-file-{st.session_state[ROUND]}",
    )
    if file is None:
        return
    try:
        table = tables.from_csv(file.getvalue(), names)
    except NoiseError as error:
        st.error(escaping.lines(error))
        return
    _restart(table)
    st.rerun()


def _use(edited: pd.DataFrame, of: RunConfig | None) -> None:
    """Choose the table as the noise of the next run, on the data set that is looked at."""
    matrix = tables.tidy(edited.to_numpy(dtype=float)).tolist()
    data = {} if of is None else {"dataset": of.dataset, "limit": of.limit}
    put(noise="matrix", noise_matrix=matrix, noise_of="settings", **data)
    st.toast("This table is the noise of the next run now. See above what it does.", icon="✅")


def _start(c: int, current: np.ndarray | None) -> np.ndarray:
    """What the table starts from: the noise shown, else nothing spoiled."""
    return np.eye(c) if current is None or current.shape != (c, c) else tables.tidy(current)


def _table(names: Sequence[str], start: np.ndarray) -> pd.DataFrame:
    """The table as it was before the edits under way; made anew when what is shown changes."""
    shown = hashlib.sha1(
        repr((list(names), start.tolist())).encode(), usedforsecurity=False
    ).hexdigest()
    kept = st.session_state.get(TABLE)
    if kept is None or kept[0] != shown:
        st.session_state[TABLE] = (shown, tables.frame(start, names))
        st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1
    return st.session_state[TABLE][1]


def _restart(table: pd.DataFrame) -> None:
    """Put another table in place of the one under way."""
    st.session_state[TABLE] = (st.session_state[TABLE][0], table)
    st.session_state[ROUND] += 1
