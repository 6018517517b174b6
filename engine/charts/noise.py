"""Figures of label noise: transition matrices and noise rates of classes."""

from collections.abc import Sequence
from html import unescape

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from engine.charts import theme
from engine.charts.escaping import plotly

MAX_CLASSES_WITH_NUMBERS = 20  # in their cells
BRIGHT = 0.6  # position on the color scale from which black is easier to read than white


def matrix_heatmap(values: np.ndarray, names: Sequence[str], *, highest: float = 1.0) -> go.Figure:
    """A transition matrix (C, C) as a heat map; rows are true classes, columns given ones.

    highest: the value of the brightest color, the same for matrices side by side. The scale is
    stretched at its low end, where the wrong labels are.
    """
    c = len(names)
    # room for the longest name, and a cell that two digits fit into
    fig = theme.figure(height=460 if c <= MAX_CLASSES_WITH_NUMBERS else 540)
    stops = np.linspace(0, 1, 12)
    colors = sample_colorscale(theme.SEQUENTIAL, stops.tolist())
    labels = _short(names)
    fig.add_heatmap(
        z=values,
        x=list(range(c)),
        y=list(range(c)),
        zmin=0,
        zmax=highest,
        colorscale=[[float(s**2), color] for s, color in zip(stops, colors, strict=True)],
        showscale=c > MAX_CLASSES_WITH_NUMBERS,
        colorbar=dict(tickformat=".0%", thickness=12, outlinewidth=0, len=0.9),
        xgap=1 if c <= MAX_CLASSES_WITH_NUMBERS else 0,
        ygap=1 if c <= MAX_CLASSES_WITH_NUMBERS else 0,
        customdata=np.broadcast_to(np.array(labels, dtype=object), (c, c)),
        hovertemplate="%{z:.2%} of true %{y} are given %{x}<extra></extra>",
    )
    if c <= MAX_CLASSES_WITH_NUMBERS:
        _write_cells(fig, values, highest)
    every = 1 if c <= 30 else 5 if c <= 50 else 10
    ticks = list(range(0, c, every))
    text = [labels[i] for i in ticks]
    long = max(len(unescape(label)) for label in labels) > 3
    size = 13 if c <= 12 else 11
    fig.update_xaxes(
        title_text="given label",
        range=[-0.5, c - 0.5],
        tickvals=ticks,
        ticktext=text,
        tickangle=-45 if long else 0,
        tickfont_size=size,
        showgrid=False,
        zeroline=False,
        constrain="domain",
        automargin=True,
    )
    fig.update_yaxes(
        title_text="true class",
        tickvals=ticks,
        ticktext=text,
        range=[c - 0.5, -0.5],
        tickfont_size=size,
        showgrid=False,
        zeroline=False,
        scaleanchor="x",
        constrain="domain",
        automargin=True,
    )
    fig.update_layout(margin=dict(l=40, r=8, t=36, b=40))
    return fig


def noise_rates(
    names: Sequence[str], requested: np.ndarray, actual: np.ndarray, sizes: np.ndarray
) -> go.Figure:
    """The share of wrong labels in each true class: bars, and what was requested as a mark.

    requested, actual: (C,) in [0, 1]; sizes: (C,) samples of each class.
    """
    c = len(names)
    fig = theme.figure(height=340, x="true class", y="labels that are wrong")
    fig.update_layout(margin_t=40, legend=dict(yref="container", y=0, yanchor="bottom"))
    places = list(range(c))
    hover = [f"{plotly(name)}, {size:,} samples" for name, size in zip(names, sizes, strict=True)]
    fig.add_bar(
        x=places,
        y=actual,
        name="actual",
        customdata=hover,
        marker=dict(
            color=theme.WRONG,
            line_width=0,
            pattern=dict(
                shape="/" if c <= 30 else "",
                size=6,
                fillmode="overlay",
                fgcolor="rgba(255,255,255,0.6)",
            ),
        ),
        hovertemplate="%{customdata}: %{y:.1%} wrong<extra></extra>",
    )
    fig.add_scatter(
        x=places,
        y=requested,
        name="requested",
        mode="markers",
        customdata=hover,
        marker=dict(
            symbol="line-ew",
            size=max(6, min(34, 560 // c)),
            line=dict(color=theme.CLEAN, width=4),
            color=theme.CLEAN,
        ),
        hovertemplate="%{customdata}: %{y:.1%} requested<extra></extra>",
    )
    _name_axis(fig, names)
    high = max(float(np.max(actual)), float(np.max(requested)), 0.05)
    fig.update_yaxes(range=[0, min(1.05, 1.15 * high)], tickformat=".0%")
    return fig


def label_counts(names: Sequence[str], counts: np.ndarray) -> go.Figure:
    """How many samples were given each label, where nothing else is known. counts: (C,)."""
    fig = theme.figure(height=320, x="given label", y="samples")
    fig.update_layout(margin_t=36)
    fig.add_bar(
        x=list(range(len(names))),
        y=counts,
        name="samples",
        marker_color=theme.CLEAN,
        customdata=[plotly(name) for name in names],
        hovertemplate="%{customdata}: %{y:,}<extra></extra>",
    )
    _name_axis(fig, names)
    return fig


def _name_axis(fig: go.Figure, names: Sequence[str]) -> None:
    """Class names under bars at 0, 1, ...; every fifth one where there are many."""
    ticks = list(range(0, len(names), 1 if len(names) <= 30 else 5))
    labels = _short(names)
    fig.update_xaxes(
        tickvals=ticks,
        ticktext=[labels[i] for i in ticks],
        automargin=True,
        showgrid=False,
        tickangle=-45 if max(len(unescape(label)) for label in labels) * len(ticks) > 80 else 0,
        range=[-0.6, len(names) - 0.4],
        zeroline=False,
    )


def _short(names: Sequence[str], most: int = 14) -> list[str]:
    return [plotly(name, most) for name in names]


def _write_cells(fig: go.Figure, values: np.ndarray, highest: float) -> None:
    """Percent in every cell that is not 0, white on dark colors and black on bright ones."""
    percent = 100 * values
    texts = np.where(percent >= 9.95, np.char.mod("%.0f", percent), np.char.mod("%.1f", percent))
    bright = np.sqrt(values / highest) > BRIGHT
    for color, mask in (("white", ~bright & (values > 0)), ("black", bright)):
        rows, columns = np.nonzero(mask)
        fig.add_scatter(
            x=columns,
            y=rows,
            text=texts[mask],
            mode="text",
            hoverinfo="skip",
            showlegend=False,
            textfont=dict(size=13 if len(values) <= 12 else 10, color=color),
        )
