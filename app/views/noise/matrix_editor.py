"""The editor of a transition matrix, which becomes the noise of the next run."""

import hashlib
import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from app.components import downloads
from app.server import endpoints, escaping
from app.state.url_state import get, link, put
from engine.config import RunConfig
from engine.errors import NoiseError
from engine.files import frame_csv

TABLE, ROUND = "matrix.table", "matrix.round"  # of the session: the edited table; its resets
MAX_PROBLEMS = 5  # listed at once
TOLERANCE = 1e-3  # so that a row of three times 0.3333 counts as summing to 1
DECIMALS = 5  # of a selected matrix, which is part of the URL
MAX_BYTES = 1_000_000


def editor(names: Sequence[str], current: np.ndarray | None, of: RunConfig | None) -> None:
    """Draw the editable table and its buttons.

    names: of the C classes. current: (C, C), the matrix shown above. of: the settings of the run
    shown above, None for the settings of the next run.
    """
    st.subheader("Your own transition matrix", anchor=False)
    st.markdown(
        "Each row is a true class; its cells are the shares of it that get each label, so every "
        "row sums to 1. Edit cells, then use the matrix for the next run."
    )
    start = _start(len(names), current)
    table = _table(names, start)
    edited = st.data_editor(
        table,
        key=f"matrix-{st.session_state[ROUND]}",
        num_rows="fixed",
        width="stretch",
        height=min(38 + 35 * len(names), 460),
        alt="Editable transition matrix",
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
    errors = problems(edited)
    _tools(names, start, edited, errors, of)
    for sentence in errors[:MAX_PROBLEMS]:
        st.warning(escaping.lines(sentence), icon=":material/warning:")
    if len(errors) > MAX_PROBLEMS:
        st.caption(f"And {len(errors) - MAX_PROBLEMS} more rows.")


def _tools(
    names: Sequence[str],
    start: np.ndarray,
    edited: pd.DataFrame,
    errors: list[str],
    of: RunConfig | None,
) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", key="matrix-tools"):
        st.button(
            "Use this matrix",
            type="primary",
            disabled=bool(errors),
            on_click=_use,
            args=(edited, of),
            help="Sets the noise model of the next run to “matrix”; start it on Train.",
        )
        st.button(
            "Normalize rows",
            disabled=not errors,
            on_click=_restart,
            args=(normalized(edited),),
        )
        st.button(
            "Start over",
            on_click=_restart,
            args=(frame(start, names),),
            help="Return to the matrix shown above.",
        )
        downloads.button("Save as CSV", lambda: to_csv(edited), "noise-matrix.csv", mime="text/csv")
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
    """Load a file into the table, once."""
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
        table = from_csv(file.getvalue(), names)
    except NoiseError as error:
        st.error(escaping.lines(error))
        return
    _restart(table)
    st.rerun()


def _use(edited: pd.DataFrame, of: RunConfig | None) -> None:
    """Make the table the noise of the next run, on the data set shown above."""
    matrix = tidy(edited.to_numpy(dtype=float)).tolist()
    data = {} if of is None else {"dataset": of.dataset, "limit": of.limit}
    put(noise="matrix", noise_matrix=matrix, noise_of="settings", **data)
    st.toast("This matrix is now the noise of the next run; its effect is shown above.", icon="✅")


def _start(c: int, current: np.ndarray | None) -> np.ndarray:
    """The table before any edit: the matrix shown above, or else no noise."""
    return np.eye(c) if current is None or current.shape != (c, c) else tidy(current)


def _table(names: Sequence[str], start: np.ndarray) -> pd.DataFrame:
    """The table that the current edits started from; reset when the page shows another matrix."""
    digest = hashlib.sha1(
        repr((list(names), start.tolist())).encode(), usedforsecurity=False
    ).hexdigest()
    kept = st.session_state.get(TABLE)
    if kept is None or kept[0] != digest:
        st.session_state[TABLE] = (digest, frame(start, names))
        st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1
    return st.session_state[TABLE][1]


def _restart(table: pd.DataFrame) -> None:
    """Replace the edited table."""
    st.session_state[TABLE] = (st.session_state[TABLE][0], table)
    st.session_state[ROUND] += 1


def frame(matrix: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """A matrix (C, C) as a table with true classes as rows; equal class names get their number."""
    names = [str(name) for name in names]
    if len(set(names)) < len(names):
        names = [f"{name} ({number})" for number, name in enumerate(names)]
    return pd.DataFrame(np.asarray(matrix, dtype=float), index=names, columns=names)


def problems(table: pd.DataFrame) -> list[str]:
    """Why a table is not a transition matrix: one sentence for each row with an error."""
    sentences = []
    for name, row in zip(table.index, table.to_numpy(dtype=float), strict=True):
        if np.isnan(row).any():
            sentences.append(f"Row {name} has an empty cell: every cell needs a number.")
        elif not np.isfinite(row).all() or (row < 0).any() or (row > 1).any():
            sentences.append(f"Row {name} has a number outside 0 to 1.")
        elif abs(row.sum() - 1) > TOLERANCE:
            sentences.append(f"Row {name} sums to {row.sum():.4g}: it must be 1.")
    return sentences


def normalized(table: pd.DataFrame) -> pd.DataFrame:
    """Each row divided by its sum; invalid cells count as 0, a row of zeros keeps its labels."""
    values = np.nan_to_num(table.to_numpy(dtype=float), nan=0, posinf=0, neginf=0).clip(0)
    empty = values.sum(1) == 0
    values[empty] = np.eye(len(values))[empty]
    return pd.DataFrame(tidy(values), index=table.index, columns=table.columns)


def tidy(matrix: np.ndarray) -> np.ndarray:
    """Each row rounded to DECIMALS and summing to 1; the largest cell takes the remainder."""
    scaled = matrix / matrix.sum(1, keepdims=True)
    short = np.round(scaled, DECIMALS)
    rows = np.arange(len(short))
    largest = short.argmax(1)
    short[rows, largest] = np.round(short[rows, largest] + 1 - short.sum(1), DECIMALS)
    return short


def to_csv(table: pd.DataFrame) -> str:
    """CSV with class names in the first row and column; rows are true classes."""
    return frame_csv(table, index_label="true \\ given")


def from_csv(content: bytes, names: Sequence[str]) -> pd.DataFrame:
    """A table (C, C) of numbers, with or without names in the first row and column.

    names: of the C classes. Raises NoiseError that names the first error; rows need not sum to 1.
    """
    c = len(names)
    if len(content) > MAX_BYTES:
        raise NoiseError(f"The file has {len(content):,} bytes: allowed are {MAX_BYTES:,}.")
    try:
        cells = pd.read_csv(io.BytesIO(content), header=None, dtype=str, skip_blank_lines=True)
    except (ValueError, UnicodeDecodeError) as error:  # pandas' own errors are ValueErrors
        raise NoiseError(f"This is not a CSV table: {error}") from None
    cells = cells.iloc[len(cells) - c :] if len(cells) == c + 1 else cells
    cells = cells.iloc[:, 1:] if cells.shape[1] == c + 1 else cells
    if cells.shape != (c, c):
        raise NoiseError(
            f"The table has {cells.shape[0]} rows and {cells.shape[1]} columns of numbers: "
            f"allowed are {c} of each, one for each class."
        )
    values = cells.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise NoiseError(
            f"{cells.iloc[row, column]!r} in row {names[row]}, column {names[column]} is not a "
            "number."
        )
    return frame(values, names)
