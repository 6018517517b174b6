"""The table of all runs; its marked rows are the runs compared."""

import streamlit as st

from app.components import figures
from app.components.page import word
from app.state.url_state import bound, get, put
from app.views.compare.comparison import MAX_RUNS
from engine.analysis import run_table

TABLE = "runs-table"  # key of the widget
COLUMNS = {
    "name": st.column_config.TextColumn("Run", pinned=True),
    "state": st.column_config.Column("State"),
    "dataset": st.column_config.Column("Data"),
    "method": st.column_config.Column("Method"),
    "noise": st.column_config.Column("Noise"),
    "rate": st.column_config.NumberColumn("Rate", format="percent", help="The noise rate set."),
    "rate_actual": st.column_config.NumberColumn(
        "Wrong", format="percent", help="Share of the given labels that are really wrong."
    ),
    "k": st.column_config.NumberColumn("K", help=word("K")),
    "alpha": st.column_config.NumberColumn("Alpha", help=word("alpha")),
    "seed": st.column_config.Column("Seed"),
    "epochs": st.column_config.Column("Epochs"),
    "planned": st.column_config.NumberColumn("Planned", help="Epochs planned."),
    "test_last": st.column_config.NumberColumn(
        "Test, last", format="percent", help=word("test accuracy")
    ),
    "test_best": st.column_config.NumberColumn("Test, best", format="percent"),
    "labels_right": st.column_config.NumberColumn(
        "Labels right", format="percent", help=word("label recovery")
    ),
    "memorized": st.column_config.NumberColumn(
        "Memorized", format="percent", help=word("memorization")
    ),
    "auroc": st.column_config.NumberColumn("AUROC", format="%.3f", help=word("AUROC")),
    "parent": st.column_config.TextColumn("Fork of"),
    "created": st.column_config.DatetimeColumn("When", format="YYYY-MM-DD HH:mm"),
    "message": st.column_config.Column("Message"),
}


def show(rows: list[run_table.Row], names: list[str]) -> None:
    """The table of all runs, with a filter; names: the runs compared."""
    st.subheader("All runs", anchor=False)
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    with left:
        st.text_input(
            "Filter",
            placeholder="Filter by words, like  digits mixnn 0.4",
            label_visibility="collapsed",
            **bound("like"),
        )
    frame = run_table.table(rows)
    frame = frame[run_table.rows_matching(frame, get("like"))]
    with right:
        figures.save_csv("all-runs", frame)
    if frame.empty:
        st.markdown("No run matches all these words.")
        return
    shown = frame["name"].tolist()
    marked = [shown.index(name) for name in names if name in shown]
    st.session_state[TABLE] = {"selection": {"rows": marked, "columns": [], "cells": []}}

    def take() -> None:
        rows = st.session_state[TABLE]["selection"]["rows"]
        selected = [shown[row] for row in rows if row < len(shown)]
        kept = [name for name in names if name in selected or name not in shown]
        added = [name for name in selected if name not in kept]
        put(compare=tuple((kept + added)[:MAX_RUNS]))

    st.caption(f"{len(shown)} runs. Mark rows to compare them; click a column header to sort.")
    st.dataframe(
        frame.dropna(axis=1, how="all"),
        key=TABLE,
        hide_index=True,
        column_config=COLUMNS,
        height=min(38 + 35 * len(frame), 420),
        on_select=take,
        selection_mode="multi-row",
    )
