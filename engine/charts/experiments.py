"""What many runs say: means with their 95 % intervals, differences, maps; tables in, figure out.

Tables are tidy, as `engine.experiments` writes them: columns that tell groups apart, `metric`, and
`n, mean, low, high` (see engine/analysis/statistics.py). Ends that are nan are left out.

from engine.charts import experiments
experiments.bands(curves, metrics=["test_accuracy"], color="method", facet="rate").show()
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import hex_to_rgb

from engine.analysis.statistics import format_mean
from engine.charts.escaping import plotly
from engine.charts.facets import FONT, SMALL, Panels, group_styles, padded_range
from engine.charts.metric_names import (
    QUANTITIES,
    Quantity,
    axis_name,
    quantity_of,
    value_words,
    values_of,
)
from engine.charts.theme import HIGHLIGHT, MUTED, class_color

MAX_POINTS = 2000  # points of a map, drawn as SVG


def mean_curves(
    frame: pd.DataFrame,
    *,
    color: str,
    metrics: Sequence[str] | None = None,
    x: str = "epoch",
    facet: str | None = None,
    row: str | None = None,
    dash: str | None = None,
    title: str = "",
    height: int | None = None,
) -> go.Figure:
    """Mean lines in 95 % bands, a line per value of color (and dash).

    facet, row: a column of panels per value of one, a row per value of the other. Each of these
    names a column of frame; `metric` is one too. metrics: those to draw, in this order.
    """
    frame = _of(frame, metrics)
    panels = Panels(frame, facet, row, title, height or 240)
    groups = group_styles(frame, color, dash)
    for part, at in panels:
        for group in groups:
            line = group.of(part).dropna(subset="mean").sort_values(x)
            known = line.dropna(subset=["low", "high"])
            quantity = quantity_of(line)
            if len(known) > 1:
                panels.fig.add_scatter(
                    x=[*known[x], *known[x][::-1]],
                    y=[*known["high"], *known["low"][::-1]],
                    fill="toself",
                    fillcolor=_faint(group.color),
                    line_width=0,
                    mode="lines",
                    hoverinfo="skip",
                    legendgroup=group.name,
                    showlegend=False,
                    **at,
                )
            if len(line):
                step = max(1, len(line) // 6)  # a symbol here and there tells lines apart in gray
                sizes = [8 if i % step == 0 else 0 for i in range(len(line))]
                texts = [format_mean(r, percent=quantity.share) for _, r in line.iterrows()]
                panels.draw(
                    group,
                    at,
                    x=line[x],
                    y=line["mean"],
                    mode="lines+markers",
                    line=dict(color=group.color, dash=group.dash, width=2.5),
                    marker=dict(
                        symbol=group.symbol, color=group.color, size=sizes, opacity=1, line_width=0
                    ),
                    text=texts,
                    hovertemplate=f"{group.name}<br>{axis_name(x)} %{{x}}: %{{text}}"
                    "<extra></extra>",
                )
    share = x in QUANTITIES and QUANTITIES[x].share
    panels.fig.update_xaxes(
        tickformat=".0%" if share else None,
        dtick=0.5 if share else None,
        nticks=6,
        zeroline=False,
        range=padded_range(frame[x].min(), frame[x].max(), 0.08 if share else 0.03),
    )
    panels.name_values()
    return panels.done(axis_name(x), f"{_seeds(frame)}; band: its 95 % interval")


def sensitivity(
    cells: pd.DataFrame,
    axes: Sequence[str],
    *,
    metric: str,
    preset: Mapping[str, float],
    color: str = "rate",
    title: str = "",
    height: int | None = None,
) -> go.Figure:
    """A metric against each of these settings, the others at the preset; a line per value of color.

    Values of a setting are evenly spaced, in their order. preset: setting -> value.
    """
    cells = _of(cells, [metric])
    parts = []
    for axis in axes:
        others = [cells[name] == preset[name] for name in axes if name != axis]
        parts.append(
            cells[np.logical_and.reduce([cells["mean"].notna(), *others])].assign(axis=axis)
        )
    frame = pd.concat(parts, ignore_index=True)
    panels = Panels(frame, "axis", None, title, height or 330, heads=False)
    groups = group_styles(frame, color)
    for (part, at), axis in zip(panels, axes, strict=True):
        values = sorted(part[axis].unique())
        places = {value: place for place, value in enumerate(values)}
        panels.fig.update_xaxes(
            tickvals=list(places.values()),
            ticktext=[f"{v:g}" for v in values],
            title_text=axis_name(axis),
            range=[-0.5, len(values) - 0.5],
            showgrid=False,
            zeroline=False,
            title_font_size=FONT,
            **at,
        )
        if preset[axis] in places:
            panels.fig.add_vrect(
                places[preset[axis]] - 0.42,
                places[preset[axis]] + 0.42,
                line_width=0,
                fillcolor=HIGHLIGHT,
                opacity=0.14,
                layer="below",
                annotation_text="preset",
                annotation_position="bottom",
                annotation_font=dict(size=SMALL),
                exclude_empty_subplots=False,
                **at,
            )
        for group, shift in zip(groups, _spread(len(groups), 0.3), strict=True):
            line = group.of(part).sort_values(axis)
            panels.draw(
                group,
                at,
                x=[places[v] + shift for v in line[axis]],
                y=line["mean"],
                mode="lines+markers",
                error_y=_whiskers(line, group.color),
                line=dict(color=group.color, dash=group.dash, width=2),
                marker=dict(symbol=group.symbol, color=group.color, size=9),
                text=[format_mean(r, percent=QUANTITIES[metric].share) for _, r in line.iterrows()],
                customdata=line[axis],
                hovertemplate=f"{group.name}<br>{axis_name(axis)} %{{customdata}}: %{{text}}"
                "<extra></extra>",
            )
    panels.name_values()
    return panels.done(None, f"{_seeds(frame)}; whiskers: its 95 % interval")


def intervals(
    frame: pd.DataFrame,
    *,
    metric: str,
    category: str,
    color: str | None = None,
    facet: str | None = None,
    zero: str = "",
    sort: bool = False,
    shared: bool = True,
    title: str = "",
    height: int | None = None,
) -> go.Figure:
    """Means as dots with 95 % whiskers, one line of text per value of category.

    zero: the numbers are paired differences, and this is the reference at 0; dots are filled where
    they differ significantly from it (column clear) and hollow elsewhere, shares are drawn as
    percentage points. sort: highest mean first. shared: panels have one scale.
    """
    frame = _of(frame, [metric]).dropna(subset="mean")
    quantity = QUANTITIES[metric]
    scale = 100 if zero and quantity.share else 1
    values = values_of(frame, category)
    if sort:
        order = frame.groupby(category)["mean"].mean()
        values = sorted(values, key=lambda value: -order[value])
    groups = group_styles(frame, color)
    tall = 38 if len(groups) == 1 else 30 * len(groups) + 14  # px of a category
    panels = Panels(frame, facet, None, title, height or 20 + tall * max(len(values), 1))
    for part, at in panels:
        ends = (part if not shared else frame)[["mean", "low", "high"]]
        least, most = scale * ends.min().min(), scale * ends.max().max()
        if zero:
            panels.zero(at, x=True)
            least, most = min(least, 0), max(most, 0)
        panels.fig.update_xaxes(
            range=padded_range(least, most, 0.035 * (1 + len(panels.columns))), **at
        )
        for group, shift in zip(
            groups, _spread(len(groups), 30 * (len(groups) - 1) / tall), strict=True
        ):
            dots = group.of(part)
            filled = dots["clear"] if zero else np.ones(len(dots), bool)
            mean = scale * dots["mean"]
            numbers = [_short(m, quantity, zero) for m in dots["mean"]]
            panels.fig.add_scatter(
                x=mean,
                y=[values.index(v) + shift for v in dots[category]],
                mode="markers+text",
                name=group.name,
                legendgroup=group.name,
                showlegend=False,
                **at,
                error_x=_whiskers(dots, group.color, scale),
                marker=dict(
                    symbol=group.symbol,
                    size=10,
                    line=dict(color=group.color, width=2),
                    color=np.where(filled, group.color, "white"),
                ),
                text=numbers,
                textposition="top center",
                textfont=dict(size=SMALL - 1),
                cliponaxis=False,
                customdata=[
                    f"{value_words(category, r[category])}: "
                    + format_mean(r, sign=bool(zero), percent=quantity.share)
                    + quantity.unit
                    for _, r in dots.iterrows()
                ],
                hovertemplate=f"{group.name}<br>%{{customdata}}<extra></extra>"
                if color
                else "%{customdata}<extra></extra>",
            )
    for group in groups if color else ():
        panels.mark(group.name, color=group.color, symbol=group.symbol, size=10)
    panels.fig.update_yaxes(
        tickvals=list(range(len(values))),
        showgrid=False,
        zeroline=False,
        ticktext=[value_words(category, value) for value in values],
        range=[len(values) - 0.45, -0.65],
    )
    panels.fig.update_xaxes(
        tickformat=".0%" if quantity.share and not zero else None,
        zeroline=False,
        nticks=9 if len(panels.columns) == 1 else 5,
    )
    how = f"{_seeds(frame)}; whiskers: its 95 % interval"
    if zero:
        how = f"Paired by seed, {how[0].lower()}{how[1:]}; hollow: not significantly different"
    unit = "percentage points" if scale == 100 else quantity.unit
    axis = f"{quantity.words} against {zero}" if zero else quantity.words
    return panels.done(f"{axis} ({unit})" if unit else axis, how)


def embedding_maps(
    frame: pd.DataFrame,
    *,
    facet: str = "epoch",
    row: str = "method",
    title: str = "",
    classes: Sequence[str] | None = None,
    height: int = 330,
) -> go.Figure:
    """Maps (columns x, y) in a grid; color = true class, cross = wrong label (columns true, wrong).

    Each map has a scale of its own, equal in both directions. At most 2,000 points a map.
    """
    panels = Panels(frame, facet, row, title, height, shared=False)
    ids = sorted(frame["true"].unique())
    colors = {c: class_color(number) for number, c in enumerate(ids)}
    marks = ((False, "circle", "label right"), (True, "x", "label wrong"))
    for part, at in panels:
        part = part.iloc[:MAX_POINTS]
        for wrong, symbol, words in marks:
            dots = part[part["wrong"] == wrong]
            panels.fig.add_scatter(
                x=dots["x"],
                y=dots["y"],
                mode="markers",
                name=words,
                showlegend=False,
                marker=dict(
                    color=dots["true"].map(colors),
                    symbol=symbol,
                    size=6 if wrong else 4,
                    opacity=0.95 if wrong else 0.5,
                ),
                text=[_class(c, classes) for c in dots["true"]],
                hovertemplate=f"true class %{{text}}<br>{words}<extra></extra>",
                **at,
            )
    for c in ids:
        panels.mark(_class(c, classes), color=colors[c], symbol="circle", size=9)
    for _, symbol, words in marks:
        panels.mark(words, color=MUTED, symbol=symbol, size=9)
    frame_line = dict(showline=True, mirror=True, linecolor="rgba(128,128,128,0.4)")
    panels.fig.update_xaxes(showticklabels=False, showgrid=False, zeroline=False, **frame_line)
    panels.fig.update_yaxes(showticklabels=False, showgrid=False, zeroline=False, **frame_line)
    for axis in panels.fig.select_yaxes():
        axis.update(scaleanchor=axis.anchor)
    for number, value in enumerate(panels.rows, start=1):
        panels.fig.update_yaxes(title_text=value_words(row, value), row=number, col=1)
    return panels.done(None, "Color: true class; cross: the given label is another", foot=14)


def run_scatter(
    frame: pd.DataFrame,
    *,
    x: str,
    y: str,
    color: str,
    facet: str | None = None,
    zero: str = "",
    title: str = "",
    height: int = 330,
) -> go.Figure:
    """One mark a run (row of frame): a quantity against another. zero: the reference at y = 0."""
    frame = frame.dropna(subset=[x, y])
    panels = Panels(frame, facet, None, title, height)
    scale = 100 if zero else 1
    for part, at in panels:
        if zero:
            panels.zero(at, x=False)
        for group in group_styles(frame, color):
            dots = group.of(part)
            panels.draw(
                group,
                at,
                x=dots[x],
                y=scale * dots[y],
                mode="markers",
                marker=dict(
                    symbol=group.symbol,
                    size=11,
                    color=group.color,
                    line=dict(width=1, color="white"),
                ),
                hovertemplate=f"{group.name}<br>{QUANTITIES[x].words}: %{{x}}<br>"
                f"{QUANTITIES[y].words}: %{{y:.1f}}<extra></extra>",
            )
    panels.fig.update_xaxes(tickformat=".0%" if QUANTITIES[x].share else None)
    words = QUANTITIES[y].words
    text = f"{words} against {zero}<br>(percentage points)" if zero else words
    panels.fig.update_yaxes(title_text=text, col=1)
    return panels.done(QUANTITIES[x].words, "Each mark is one run")


def _of(frame: pd.DataFrame, metrics: Sequence[str] | None) -> pd.DataFrame:
    """Rows of these metrics, in their order."""
    if metrics is None:
        return frame
    return pd.concat([frame[frame["metric"] == metric] for metric in metrics], ignore_index=True)


def _short(value: float, quantity: Quantity, zero: str = "") -> str:
    if zero:
        value, digits = (100 * value, 1) if quantity.share else (value, 3)
        text = f"{value:+.{digits}f}".replace("-", "−")
        return text if float(text[1:]) else text[1:]
    if quantity.share:
        return f"{100 * value:.1f} %"
    return f"{value:.3f}" if quantity.bounded else f"{value:.1f} {quantity.unit}".strip()


def _class(c: Any, classes: Sequence[str] | None) -> str:
    return plotly(classes[c]) if classes is not None else str(c)


def _seeds(frame: pd.DataFrame) -> str:
    """ "Mean of 5 seeds"."""
    n = frame.loc[frame["mean"].notna(), "n"]
    if not len(n):
        return "No run"
    few, many = int(n.min()), int(n.max())
    if many == 1:
        return "One seed, so no interval"
    return f"Mean of {many if few == many else f'{few} to {many}'} seeds"


def _whiskers(rows: pd.DataFrame, color: str, scale: float = 1) -> dict[str, Any]:
    return dict(
        type="data",
        symmetric=False,
        array=scale * (rows["high"] - rows["mean"]),
        arrayminus=scale * (rows["mean"] - rows["low"]),
        color=color,
        thickness=1.8,
        width=5,
    )


def _spread(n: int, width: float) -> np.ndarray:
    """Shifts (n,) around 0 that keep n marks at one place apart."""
    return np.linspace(-width / 2, width / 2, n) if n > 1 else np.zeros(1)


def _faint(color: str) -> str:
    return f"rgba{(*hex_to_rgb(color), 0.18)}"
