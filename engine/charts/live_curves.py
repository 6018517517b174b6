"""Curves of a run that trains: Vega-Lite specs that stay as they are while the data grows.

A plotly chart in Streamlit is mounted again by every change of its data; a Vega-Lite chart with a
key is not, so it keeps the zoom and selection of the visitor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.charts.theme import OKABE_ITO

if TYPE_CHECKING:
    import pandas as pd

HEIGHT = 250  # pixels of a chart with its axes
PLOT_WIDTH = 380  # pixels of a plot on a narrow screen, from which the room for texts is estimated
LINE, MARK, NAME = "line", "mark", "name"  # kinds of rows: points, events, names of curves
STAGES = ("neighbors", "training", "evaluation", "mixture", "test", "snapshot", "writing")
SHAPES = ("circle", "square", "triangle-up", "diamond")
LEVELS = (1.03, 1.12, 1.21)  # heights of the words of events, above 100 %
TOP = 1.22  # of the axis
MANY = 4  # curves up to which there is room for two lines each
COLUMNS = ["kind", "epoch", "series", "value", "text", "side"]
Row = tuple[str, int, str | None, float, str, str]
TEXT_GRAY = "#737C87"  # legible on white and on dark


def curve_rows(
    records: list[dict[str, Any]],
    series: dict[str, str],
    marks: list[tuple[int, str]],
    epochs: tuple[int, int],
) -> pd.DataFrame:
    """Points, events and names of curves as one table: kind, epoch, series, value, text, side.

    series: metric name -> words. marks: (epoch, words), see `events`. epochs: first and last of the
    axis. The words of events are above the plot and clear of each other; the name of a curve, with
    its newest value, is next to its newest point.
    """
    import pandas as pd  # late: the page that draws nothing yet needs none

    rows: list[Row] = [
        (LINE, record["epoch"], words, record["metrics"].get(name), "", "")
        for record in records
        for name, words in series.items()
        if record["metrics"].get(name) is not None
    ]
    return pd.DataFrame(rows + name_rows(rows) + _placed(marks, epochs), columns=COLUMNS)


def name_rows(lines: list[Row]) -> list[Row]:
    """The name of each curve with its newest value, next to its newest point. lines: the points."""
    newest = {words: (epoch, value) for _, epoch, words, value, *_ in lines}
    values = [value for _, value in newest.values()]
    heights = _spread(values, 0.2 if len(newest) <= MANY else 0.1)
    return [
        (NAME, epoch, words, height, f"{words} {100 * value:.1f} %", "")
        for (words, (epoch, value)), height in zip(newest.items(), heights, strict=True)
    ]


def _placed(marks: list[tuple[int, str]], epochs: tuple[int, int]) -> list[Row]:
    """A row for each event: at the right of its line, or at the left near the end of the axis, on
    the lowest level that is free there."""
    per_letter = 6.5 / PLOT_WIDTH * (epochs[1] - epochs[0])  # in epochs
    right: list[tuple[int, str, float, float]] = []
    left: list[tuple[int, str, float, float]] = []
    for epoch, text in sorted(marks):
        width = per_letter * (len(text) + 2)
        fits = epoch + width <= epochs[1]
        (right if fits else left).append((epoch, text, epoch if fits else epoch - width, width))
    rows: list[Row] = []
    taken: list[list[tuple[float, float]]] = [[] for _ in LEVELS]
    # in this order no line runs through the words of another event
    for epoch, text, begin, width in [*reversed(right), *left]:
        free = [
            i
            for i, texts in enumerate(taken)
            if all(begin + width <= low or begin >= high for low, high in texts)
        ]
        level = free[0] if free else len(LEVELS) - 1
        taken[level].append((begin, begin + width))
        rows.append((MARK, epoch, None, LEVELS[level], text, "right" if begin == epoch else "left"))
    return sorted(rows, key=lambda row: row[1])


def _spread(values: list[float], gap: float) -> list[float]:
    """Heights of names next to values in [0, 1]: in their order, within the plot, `gap` apart."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    heights, lowest = [0.0] * len(values), 0.06
    for place, i in enumerate(order):
        above = len(order) - 1 - place
        heights[i] = min(max(values[i], lowest), 1.0 - above * gap)
        lowest = heights[i] + gap
    return heights


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
    """Shares over the epochs, named next to their newest points; events as dashed lines."""
    names = list(series.values())
    domain = {"domain": names}
    x = {
        "field": "epoch",
        "type": "quantitative",
        "title": "epoch",
        "scale": {"domain": list(epochs), "nice": False},
        "axis": {"tickMinStep": 1, "grid": False, "titlePadding": 2, "labelFlush": False},
    }
    y = {
        "field": "value",
        "type": "quantitative",
        "title": None,
        "scale": {"domain": [0, TOP], "nice": False},
        "axis": {"format": ".0%", "values": [0, 0.25, 0.5, 0.75, 1], "labelFlush": False},
    }
    of_series = {"field": "series", "type": "nominal", "legend": None}
    color = of_series | {"scale": domain | {"range": list(colors[: len(names)])}}
    shape = of_series | {"scale": domain | {"range": list(SHAPES[: len(names)])}}
    dash = of_series | {
        "scale": domain | {"range": [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3]][: len(names)]}
    }
    tooltip = [
        {"field": "series", "title": "curve"},
        {"field": "epoch"},
        {"field": "value", "format": ".1%"},
    ]
    only_lines = [{"filter": f"datum.kind == '{LINE}'"}]
    only_marks = [{"filter": f"datum.kind == '{MARK}'"}]
    only_names = [{"filter": f"datum.kind == '{NAME}'"}]
    gray = {"tooltip": None, "color": TEXT_GRAY}
    size = {"expr": "clamp(width / 42, 12, 18)"}  # pixels, larger on a projector
    return {
        "height": HEIGHT,
        "layer": [
            {
                "transform": only_marks,
                "mark": gray | {"type": "rule", "strokeDash": [4, 4], "clip": True},
                "encoding": {"x": x, "y": y, "y2": {"datum": 0}},
            },
            *(
                {
                    "transform": [*only_marks, {"filter": f"datum.side == '{side}'"}],
                    "mark": gray
                    | {"type": "text", "align": align, "dx": shift, "baseline": "bottom"}
                    | {"fontSize": size},
                    "encoding": {"x": x, "y": y, "text": {"field": "text"}},
                }
                for side, align, shift in (("right", "left", 4), ("left", "right", -4))
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
            {
                "transform": only_names,
                "mark": {
                    "type": "text",
                    "tooltip": None,
                    "align": "left",
                    "baseline": "middle",
                    "dx": 9,
                    "lineBreak": "\n",
                    "fontWeight": 600,
                    "fontSize": size,
                },
                "encoding": {"x": x, "y": y, "color": color, "text": {"field": "text"}},
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
            "y": {
                "field": "seconds",
                "type": "quantitative",
                "title": "seconds",
                "axis": {"labelFlush": False},
            },
            "color": color,
            "order": {"field": "stage"},
            "tooltip": [
                {"field": "stage"},
                {"field": "epoch"},
                {"field": "seconds", "format": ".3f"},
            ],
        },
    }
