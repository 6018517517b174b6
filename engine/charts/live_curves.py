"""Curves of a run that trains: Vega-Lite specs that stay as they are while the data grows.

A plotly chart in Streamlit is mounted again by every change of its data; a Vega-Lite chart with a
key is not, so it keeps the zoom and selection of the visitor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.charts.theme import OKABE_ITO

if TYPE_CHECKING:
    import pandas as pd

HEIGHT = 230
LINE, MARK = "line", "mark"  # kinds of rows: points of curves, and events such as a changed K
STAGES = ("neighbors", "training", "evaluation", "mixture", "test", "snapshot", "writing")
SHAPES = ("circle", "square", "triangle-up", "diamond")


def curve_rows(
    records: list[dict[str, Any]], series: dict[str, str], marks: list[tuple[int, str]], turn: float
) -> pd.DataFrame:
    """Points and events as one long table: kind, epoch, series, value, text, side.

    series: metric name -> what the legend says. marks: (epoch, words), see `events`. The words of
    an event are next to its line, each a little lower than those before: on its left from the epoch
    `turn` on.
    """
    import pandas as pd  # late: the page that draws nothing yet needs none

    rows: list[tuple[str, int, str | None, float, str, str]] = [
        (LINE, record["epoch"], words, record["metrics"].get(name), "", "")
        for record in records
        for name, words in series.items()
        if record["metrics"].get(name) is not None
    ]
    rows += [
        (MARK, epoch, None, 0.62 - 0.13 * (number % 5), text, "left" if epoch > turn else "right")
        for number, (epoch, text) in enumerate(marks)
    ]
    return pd.DataFrame(rows, columns=["kind", "epoch", "series", "value", "text", "side"])


def events(
    records: list[dict[str, Any]], warmup: int, correction_start: int | None
) -> list[tuple[int, str]]:
    """Events of a run as (epoch, text), from its epochs so far.

    warmup: epochs of warm-up, 0 for none; correction_start: None where nothing is corrected.
    """
    if not records:
        return []
    first, last = records[0]["epoch"], records[-1]["epoch"]
    marks = [(warmup, "mixing starts")] if first < warmup <= last else []
    if correction_start is not None and first < correction_start <= last:
        marks.append((correction_start, "correction starts"))
    for before, after in zip(records, records[1:], strict=False):
        marks += [
            (after["epoch"], f"{label} {was} → {after['settings'][name]}")
            for name, label in (("k", "K"), ("alpha", "alpha"))
            if (was := before["settings"][name]) != after["settings"][name]
        ]
    return marks


def curves_spec(
    series: dict[str, str], epochs: tuple[int, int], colors: tuple[str, ...] = OKABE_ITO
) -> dict[str, Any]:
    """Shares over the epochs, distinct by color, dash and shape; events as dashed lines."""
    names = list(series.values())
    domain = {"domain": names}
    legend = {"orient": "top", "title": None, "labelLimit": 0, "columns": 2}
    x = {
        "field": "epoch",
        "type": "quantitative",
        "title": "epoch",
        "scale": {"domain": list(epochs), "nice": False},
        "axis": {"tickMinStep": 1, "grid": False, "titlePadding": 2},
    }
    y = {
        "field": "value",
        "type": "quantitative",
        "title": None,
        "scale": {"domain": [0, 1]},
        "axis": {"format": "%"},
    }
    color = {
        "field": "series",
        "type": "nominal",
        "legend": legend,
        "scale": domain | {"range": list(colors[: len(names)])},
    }
    shape = {
        "field": "series",
        "type": "nominal",
        "legend": legend,
        "scale": domain | {"range": list(SHAPES[: len(names)])},
    }
    dash = {
        "field": "series",
        "type": "nominal",
        "legend": legend,
        "scale": domain | {"range": [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3]][: len(names)]},
    }
    tooltip = [
        {"field": "series", "title": "curve"},
        {"field": "epoch"},
        {"field": "value", "format": ".1%"},
    ]
    only_lines = [{"filter": f"datum.kind == '{LINE}'"}]
    only_marks = [{"filter": f"datum.kind == '{MARK}'"}]
    return {
        "height": HEIGHT,
        "layer": [
            {
                "transform": only_marks,
                "mark": {
                    "type": "rule",
                    "tooltip": None,
                    "strokeDash": [4, 4],
                    "color": "#8A94A0",
                },
                "encoding": {"x": x},
            },
            *(
                {
                    "transform": [*only_marks, {"filter": f"datum.side == '{side}'"}],
                    "mark": {
                        "type": "text",
                        "tooltip": None,
                        "align": align,
                        "dx": shift,
                        "color": "#8A94A0",
                        "fontSize": 13,
                    },
                    "encoding": {"x": x, "y": y, "text": {"field": "text"}},
                }
                for side, align, shift in (("right", "left", 5), ("left", "right", -5))
            ),
            {
                "transform": only_lines,
                "mark": {"type": "line", "strokeWidth": 2.5},
                "encoding": {"x": x, "y": y, "color": color, "strokeDash": dash},
            },
            {
                "transform": only_lines,
                "mark": {"type": "point", "size": 32, "filled": True, "opacity": 1},
                "encoding": {"x": x, "y": y, "color": color, "shape": shape, "tooltip": tooltip},
            },
        ],
    }


def stage_rows(records: list[dict[str, Any]]) -> pd.DataFrame:
    """Seconds of each stage of each epoch: epoch, stage, seconds."""
    import pandas as pd

    rows = [
        (record["epoch"], stage, record["seconds"].get(stage, 0.0))
        for record in records
        for stage in STAGES
    ]
    return pd.DataFrame(rows, columns=["epoch", "stage", "seconds"])


def stages_spec(epochs: tuple[int, int]) -> dict[str, Any]:
    """Stacked bars: where the time of each epoch went."""
    color = {
        "field": "stage",
        "type": "nominal",
        "sort": list(STAGES),
        "legend": {"orient": "top", "title": None, "labelLimit": 0, "columns": 3},
        "scale": {"domain": list(STAGES), "range": list(OKABE_ITO[: len(STAGES)])},
    }
    return {
        "height": HEIGHT,
        "mark": {"type": "bar", "binSpacing": 0, "width": {"band": 0.9}},
        "encoding": {
            "x": {
                "field": "epoch",
                "type": "ordinal",
                "title": "epoch",
                "scale": {"domain": list(range(epochs[0], epochs[1] + 1))},
                "axis": {"labelOverlap": True, "labelAngle": 0, "titlePadding": 2},
            },
            "y": {"field": "seconds", "type": "quantitative", "title": "seconds"},
            "color": color,
            "order": {"field": "stage"},
            "tooltip": [
                {"field": "stage"},
                {"field": "epoch"},
                {"field": "seconds", "format": ".3f"},
            ],
        },
    }
