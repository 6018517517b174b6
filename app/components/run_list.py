"""The table of runs, on Runs and Compare: columns, filter, order by lineage, marked rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

import streamlit as st

from app.components import figures
from app.components.glossary import word
from app.server.visible_runs import runs
from app.server.visitors import EVERYONE, visitor
from app.state.url_state import bound, get
from engine.analysis import run_table

if TYPE_CHECKING:
    import pandas as pd

TABLE = "runs-table"  # key of the widget
HEIGHT = 480  # pixels at most
COLUMNS = {
    "run": st.column_config.LinkColumn(
        "Run", pinned=True, width="large", display_text="#(.*)", help="Opens the run on Train."
    ),
    "state": st.column_config.Column("State"),
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
    "method": st.column_config.Column("Method"),
    "dataset": st.column_config.Column("Data"),
    "noise": st.column_config.Column("Noise"),
    "rate": st.column_config.NumberColumn("Rate", format="percent", help="The noise rate set."),
    "rate_actual": st.column_config.NumberColumn(
        "Wrong", format="percent", help="Share of the given labels that are really wrong."
    ),
    "k": st.column_config.NumberColumn(
        "K", help=f"{word('K')} In the last epoch; empty where it has no effect."
    ),
    "alpha": st.column_config.NumberColumn(
        "Alpha", help=f"{word('alpha')} In the last epoch; empty where it has no effect."
    ),
    "changed": st.column_config.TextColumn(
        "Changed", help="Settings that were changed while it trained."
    ),
    "parent": st.column_config.TextColumn("Fork of", help=word("fork")),
    "seed": st.column_config.Column("Seed"),
    "epochs": st.column_config.Column("Epochs"),
    "planned": st.column_config.NumberColumn("Planned", help="Epochs planned."),
    "owner": st.column_config.Column("Owner"),
    "pinned": st.column_config.CheckboxColumn(
        "Pinned", help="Trains unwatched, and is kept when old runs are removed."
    ),
    "note": st.column_config.TextColumn("Note", width="medium"),
    "created": st.column_config.DatetimeColumn("When", format="YYYY-MM-DD HH:mm"),
    "message": st.column_config.Column("Message"),
    "name": st.column_config.TextColumn("Folder"),
}


def table(
    rows: list[run_table.Row],
    labels: dict[str, str],
    marked: list[str],
    mark: Callable[[list[str]], None],
) -> None:
    """The runs as a table with a filter, forks below their parents; its marked rows are chosen.

    rows: of all runs, newest first. mark: called with the names of the marked rows.
    """
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    with left:
        st.text_input(
            "Filter",
            placeholder="Filter by words, like  digits mixnn 0.4",
            label_visibility="collapsed",
            **bound("like"),
        )
    frame = data_frame(rows, labels)
    frame = frame[run_table.rows_matching(frame, get("like"))]
    with right:
        figures.save_csv("all-runs", frame)
    if frame.empty:
        st.markdown("No run matches all these words.")
        return
    shown = frame["name"].tolist()
    positions = [shown.index(name) for name in marked if name in shown]
    st.session_state[TABLE] = {"selection": {"rows": positions, "columns": [], "cells": []}}

    def take() -> None:
        numbers = st.session_state[TABLE]["selection"]["rows"]
        selected = [shown[number] for number in numbers if number < len(shown)]
        kept = [name for name in marked if name in selected or name not in shown]
        mark(kept + [name for name in selected if name not in kept])

    st.caption(
        f"{len(shown)} run{'s' * (len(shown) != 1)}, forks below their parents. Mark rows at the "
        "left; click a column header to sort."
    )
    links = frame.assign(run=[_link(n, text) for n, text in zip(shown, frame["run"], strict=True)])
    st.dataframe(
        links.dropna(axis=1, how="all"),
        key=TABLE,
        hide_index=True,
        column_config=COLUMNS,
        column_order=list(COLUMNS),
        height=min(38 + 35 * len(frame), HEIGHT),
        on_select=take,
        selection_mode="multi-row",
    )


def data_frame(rows: list[run_table.Row], labels: dict[str, str]) -> pd.DataFrame:
    """The runs with the columns of COLUMNS, by lineage."""
    ordered = by_lineage(rows)
    frame = run_table.table([row for row, _ in ordered])
    names = frame["name"].tolist()
    infos = [runs().info(name) for name in names]
    frame["run"] = [
        "\u2003" * (depth - 1) + "└ " * (depth > 0) + str(labels.get(row["name"], row["name"]))
        for row, depth in ordered
    ]
    frame["owner"] = [owner_in_words(info.owner) for info in infos]
    frame["pinned"] = [info.pinned for info in infos]
    return frame[list(COLUMNS)]


def by_lineage(rows: list[run_table.Row]) -> list[tuple[run_table.Row, int]]:
    """Rows with their depth: forks directly below their parents, seeds of one setting together."""
    names = {row["name"] for row in rows}
    forks: dict[str, list[run_table.Row]] = {}
    families: dict[str, list[run_table.Row]] = {}
    for row in rows:
        parent = row["fork"].parent if row["fork"] else ""
        if parent in names and parent != row["name"]:
            forks.setdefault(parent, []).append(row)
        else:
            families.setdefault(row["family"] or row["name"], []).append(row)
    ordered: list[tuple[run_table.Row, int]] = []
    placed: set[str] = set()

    def place(row: run_table.Row, depth: int) -> None:
        if row["name"] not in placed:
            placed.add(row["name"])
            ordered.append((row, depth))
            for fork in forks.get(row["name"], []):
                place(fork, depth + 1)

    for family in families.values():
        for row in family:
            place(row, 0)
    for row in rows:  # a circle of damaged parents
        place(row, 0)
    return ordered


def owner_in_words(owner: str) -> str:
    """Whose run it is, as this visitor may know it."""
    if owner == visitor().id:
        return "you"
    if owner == EVERYONE.id:
        return "the lesson"
    return f"visitor {owner[:4]}" if owner else "command line"


def _link(name: str, label: str) -> str:
    """A relative address whose fragment is what the table shows; texts by others are encoded."""
    return f"train?run={quote(name, safe='')}#{quote(label, safe=' ,;:/?@&=+$')}"
