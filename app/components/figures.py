"""Figures on a page, which visitors can save as an image (PNG) and as numbers (CSV)."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from app.components import downloads
from engine.files import frame_csv

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


_enlarged: ContextVar[tuple[float, float] | None] = ContextVar("enlarged", default=None)


@contextmanager
def enlarged(by: float, height: float) -> Iterator[None]:
    """Context in which `show` enlarges texts and lines, and leaves out the buttons below.

    height: of each figure, in pixels.
    """
    token = _enlarged.set((by, height))
    try:
        yield
    finally:
        _enlarged.reset(token)


def show(
    fig: go.Figure,
    name: str,
    *,
    alt: str,
    data: pd.DataFrame | Callable | None = None,
    of: str = "",
    over_epochs: bool = False,
    **options,
) -> Any:
    """A chart that can be saved as PNG (in its toolbar), and as CSV and SVG (beside it).

    name: of the files, after `of`, the run and epoch. alt: alternative text. data: its numbers, or
    a function that returns them; by default the figure's own points. over_epochs: page.js marks the
    selected epoch on it, so that a step does not draw it again. options: of st.plotly_chart, whose
    result is returned.
    """
    if (size := _enlarged.get()) is not None:
        from engine.charts import theme  # late: it imports Plotly

        theme.enlarge(fig, *size)
        return st.plotly_chart(fig, key=f"chart-{name}", alt=alt, config={"displayModeBar": False})
    file = f"{of}-{name}" if of else name
    if over_epochs:
        fig.update_layout(meta={"over_epochs": True})
    config = {
        "displaylogo": False,
        "displayModeBar": True,
        "toImageButtonOptions": {"format": "png", "filename": file, "scale": 2},
        "modeBarButtonsToRemove": ["autoScale2d", "zoomIn2d", "zoomOut2d"],
    }
    options = {"key": f"chart-{name}", "alt": alt, "config": config} | options
    with st.container(gap=None, key=f"figure-{name}"):
        selected = st.plotly_chart(fig, **options)
        with st.container(horizontal=True, gap=None, width="content", key=f"save-{name}"):
            save_csv(name, data if data is not None else lambda: points(fig), file)
            label = html.escape(f"Save as SVG: {alt}", quote=True)
            # page.js saves the picture; no class of Streamlit's own buttons, which ask the server
            st.html(f'<button class="save-svg" type="button" aria-label="{label}">SVG</button>')
    return selected


def save_csv(
    name: str, data: pd.DataFrame | Callable[[], pd.DataFrame], file: str | None = None
) -> None:
    """A small button that saves a table as CSV; the file is created on click.

    file: its name without .csv, by default `name`.
    """

    def text() -> str:
        return frame_csv(data() if callable(data) else data)

    downloads.button(
        "CSV",
        text,
        f"{file or name}.csv",
        mime="text/csv",
        type="tertiary",
        key=f"csv-{name}",
        help="Save the numbers of this chart",
    )


def points(fig: go.Figure) -> pd.DataFrame:
    """The points of a figure as a long table with columns trace, x, y (and z)."""
    import pandas as pd  # late: pages without a figure need none

    tables = []
    for number, trace in enumerate(fig.data):
        values = {axis: getattr(trace, axis, None) for axis in ("x", "y", "z")}
        if trace.type in ("heatmap", "sankey"):
            tables.append(_table(trace, values))
            continue
        columns = {a: np.asarray(v).ravel() for a, v in values.items() if v is not None}
        tables.append(pd.DataFrame({"trace": trace.name or f"trace {number}"} | columns))
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return table.map(lambda cell: html.unescape(cell) if isinstance(cell, str) else cell)


def _table(trace: Any, values: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd

    if trace.type == "sankey":
        names, flow = list(trace.node.label), trace.link
        return pd.DataFrame(
            {
                "from": [names[i] for i in flow.source],
                "to": [names[i] for i in flow.target],
                "value": list(flow.value),
            }
        )
    z = np.asarray(values["z"])
    x = range(z.shape[1]) if values["x"] is None else values["x"]
    y = range(z.shape[0]) if values["y"] is None else values["y"]
    cells = [(row, column, z[i, j]) for i, row in enumerate(y) for j, column in enumerate(x)]
    return pd.DataFrame(cells, columns=["row", "column", "value"])
