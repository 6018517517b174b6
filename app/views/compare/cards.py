"""A card for each run compared: its line, state and numbers at the epoch."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

import streamlit as st

from app.components import run_picker, text
from app.server import escaping
from app.server.visible_runs import runs
from engine.charts import curves

if TYPE_CHECKING:
    from app.views.compare.comparison import EpochView

METRICS = {"test_accuracy": "test", "label_accuracy": "labels right", "memorized": "memorized"}


def show(views: dict[str, EpochView], short: dict[str, str], waiting: list[str]) -> None:
    """The cards of runs (name -> view and short name), then of runs without an epoch yet."""
    cards = [
        run_card(name, short[name], number, view)
        for number, (name, view) in enumerate(views.items())
    ]
    for name in waiting:
        info = runs().info(name)
        progress = f"number {info.position} in the queue" if info.position else "starting"
        state = f"{run_picker.SYMBOLS[info.state]} {info.state}, {progress}"
        cards.append(box(escaping.html(name), state))
    st.html(f'<div style="display:flex;flex-wrap:wrap;gap:10px">{"".join(cards)}</div>')


def run_card(name: str, short: str, number: int, view: EpochView) -> str:
    """HTML of a run's card; number: which line of the charts is its."""
    info = runs().info(name)
    metrics = view.run.epochs[view.row]["metrics"]
    numbers = " · ".join(
        f"{words} <b>{text.percent(metrics[key])}</b>"
        for key, words in METRICS.items()
        if metrics.get(key) is not None
    )
    note = f'<div style="font-size:13px">{escaping.html(view.note)}</div>' if view.note else ""
    head = f"{line_sample(number)} <b>{escaping.html(short)}</b>"
    state = f"{run_picker.SYMBOLS[info.state]} {info.state}"
    small = f'<span style="font-size:13px;opacity:.8">{state} · {escaping.html(name)}</span>'
    return box(f"{head}<br>{small}", f"{numbers}{note}")


def box(head: str, body: str) -> str:
    """HTML of a box; head and body are HTML."""
    return (
        '<div style="border:1px solid rgba(128,128,128,.4);border-radius:8px;padding:8px 12px;'
        f'font-size:15px;min-width:250px;max-width:100%;overflow-wrap:anywhere">{head}<div>{body}</div></div>'
    )


def line_sample(number: int) -> str:
    """HTML of a short piece of a run's line, in its color and dash."""
    color, dash, _ = curves.run_style(number)
    gaps = "" if dash == "solid" else dash.replace("px", "").replace(",", " ")
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="34" height="10">'
        f'<line x1="0" y1="5" x2="34" y2="5" stroke="{color}" stroke-width="3" '
        f'stroke-dasharray="{gaps}"/></svg>'
    )
    url = "data:image/svg+xml;base64," + b64encode(svg.encode()).decode()
    return f'<img src="{url}" alt="" style="vertical-align:middle">'
