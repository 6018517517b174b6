"""Charts in notebooks: one width, readable on light and dark pages, sliders without a kernel.

from engine.charts import notebook
notebook.setup()

No browser runs here: `tests/execute_notebooks.py` adds the PNG that a page without scripts shows.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio
from plotly.io.base_renderers import PlotlyRenderer

NAME = "lab"  # of our renderer
WIDTH = 800  # pixels of every figure
INK = "#7A7A7A"  # of texts: contrast 4.3 to white and 4.4 to JupyterLab's dark background
# In place of Plotly's template, which adds 7 kB to every figure and is dark ink on white.
AXIS = dict(automargin=True, title=dict(standoff=12), zerolinewidth=1)
TEMPLATE = dict(
    layout=dict(
        font=dict(color=INK),
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hovermode="closest",
        xaxis=AXIS,
        yaxis=AXIS,
        coloraxis=dict(colorbar=dict(outlinewidth=0, ticks="")),
    )
)
ADDRESS = "http://localhost:8501"  # of the app on this machine
ROOT = Path(__file__).resolve().parents[2]
EARLIER = (
    "An earlier cell makes {name}. Choose Run > Run All Above Selected Cell, then run this cell "
    "again."
)


def setup() -> None:
    """From here on figures have one width and suit the theme, and a missing name is explained."""
    pio.renderers[NAME] = Renderer()
    pio.renderers.default = NAME
    try:
        from IPython import get_ipython  # late: figures need no kernel

        shell = get_ipython()
    except ImportError:
        shell = None
    if shell is not None:
        shell.set_custom_exc((NameError,), _explain)


def runs_folder() -> Path:
    """Where the app keeps its runs: $MIXNN_RUNS, or runs/ in the project."""
    return Path(os.environ.get("MIXNN_RUNS") or ROOT / "runs")


def link(page: str, *runs: Path | str) -> str:
    """The address of a page of the app on this machine that shows these run folders.

    >>> link("losses", "runs/mine")
    'http://localhost:8501/losses?run=mine'
    """
    names = ",".join(Path(run).name for run in runs)
    return f"{ADDRESS}/{page}?{'compare' if page == 'compare' else 'run'}={names}"


def explore(draw: Callable[[Any], go.Figure], values: Iterable[Any], start: Any) -> go.Figure:
    """A figure with a slider over the values of draw's argument; it needs no kernel.

    draw: gives a figure for each value, all with the same traces. start: the value that is shown
    first, and where no script runs.
    """
    values = list(values)
    words = draw.__code__.co_varnames[0]
    first = draw(start)
    first.frames = frames = _frames([draw(value).to_plotly_json() for value in values], values)
    steps = [
        dict(
            label=frame["name"],
            method="animate",
            args=[[frame["name"]], dict(mode="immediate", frame=dict(duration=0, redraw=True))],
        )
        for frame in frames
    ]
    room = 92  # pixels for the slider
    bottom = first.layout.margin.b or 48
    first.update_layout(
        height=(first.layout.height or 450) + room,
        margin_b=bottom + room,
        sliders=[
            dict(
                active=values.index(start),
                currentvalue=dict(prefix=f"{words}: "),
                steps=steps,
                pad=dict(t=bottom + 12),
                bgcolor=INK,
                borderwidth=0,
            )
        ],
    )
    return first


def _frames(figures: list[dict[str, Any]], names: list[Any]) -> list[dict[str, Any]]:
    """A frame for each figure: whatever is not the same in all of them."""
    traces = [list(same) for same in zip(*(figure["data"] for figure in figures), strict=True)]
    moving = [_moving(same) | {"type"} for same in traces]
    layout = _moving([figure["layout"] for figure in figures]) - {"template"}
    return [
        dict(
            name=str(name),
            data=[
                {key: trace.get(key) for key in keys}
                for trace, keys in zip(figure["data"], moving, strict=True)
            ],
            layout={
                key: _padded([f["layout"].get(key) for f in figures], number) for key in layout
            },
        )
        for number, (figure, name) in enumerate(zip(figures, names, strict=True))
    ]


def _padded(parts: list[Any], number: int) -> Any:
    """One of these parts of layouts; a list of annotations or shapes is as long as the longest.

    A frame adds to such a list and removes nothing: what is not in this figure is invisible.
    """
    part = parts[number]
    if not any(isinstance(other, list | tuple) for other in parts):
        return part
    items = [dict(visible=True) | item for item in part or ()]
    longest = max(len(other or ()) for other in parts)
    return items + [dict(visible=False)] * (longest - len(items))


def _moving(parts: list[dict[str, Any]]) -> set[str]:
    """Keys whose values are not the same in all of these."""

    def text(part: dict[str, Any], key: str) -> str:
        return pio.to_json(dict(value=part.get(key)), validate=False)

    keys = {key for part in parts for key in part}
    return {key for key in keys if len({text(part, key) for part in parts}) > 1}


def _explain(
    shell: Any, kind: type, error: NameError, trace: TracebackType, tb_offset: int | None = None
) -> list[str]:
    """The last line of the traceback, and what to do: a cell was run out of order."""
    made = repr(error.name) if error.name else "what is missing"
    lines = shell.InteractiveTB.structured_traceback(kind, error, trace, tb_offset=tb_offset)
    lines = [*lines, EARLIER.format(name=made)]
    shell._showtraceback(kind, error, lines)
    return lines


class Renderer(PlotlyRenderer):
    """Plotly's format for JupyterLab, in one width, on the background of the page."""

    def to_mimebundle(self, fig_dict: dict[str, Any]) -> dict[str, Any]:
        layout = dict(width=WIDTH) | fig_dict["layout"] | dict(template=TEMPLATE)
        return super().to_mimebundle(fig_dict | {"layout": layout})
