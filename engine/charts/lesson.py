"""Figures of the lesson."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from engine.charts import theme
from engine.charts.escaping import plotly

RIGHT_WORDS, WRONG_WORDS = "right labels", "wrong labels"
N_BINS = 40


def share_curves(
    x: Sequence[float],
    series: Mapping[str, Sequence[float] | tuple[Sequence[float], str]],
    *,
    mark: tuple = (),
    over: str = "epoch",
    guess: float | dict[float, float] | None = None,
) -> go.Figure:
    """Shares over the epochs, or over what `over` names. series: name -> values, or with a color.

    mark: (x, text). guess: what was predicted, a number or numbers by x, drawn with the curves.
    """
    fig = theme.figure(height=340, x=over)
    if guess is not None:
        points = guess if isinstance(guess, dict) else {x[0]: guess, x[-1]: guess}
        fig.add_scatter(
            x=list(points),
            y=list(points.values()),
            name="your guess",
            mode="lines+markers",
            line=dict(color=theme.HIGHLIGHT, width=2, dash="dot"),
            marker=dict(symbol="star", size=11),
            hovertemplate=over + " %{x}: %{y:.1%}<extra>your guess</extra>",
        )
    for number, (words, line) in enumerate(series.items()):
        values, color = line if isinstance(line, tuple) else (line, theme.OKABE_ITO[number])
        fig.add_scatter(
            x=list(x),
            y=list(values),
            name=words,
            mode="lines+markers",
            line=dict(color=color, width=3, dash=theme.DASHES[number]),
            marker=dict(symbol=theme.SYMBOLS[number], size=7),
            hovertemplate=over + " %{x}: %{y:.1%}<extra>" + words + "</extra>",
        )
    fig.update_yaxes(range=[-0.02, 1.02], tickformat=".0%")
    fig.update_layout(margin_t=60)
    if mark:
        fig.add_vline(mark[0], line=dict(color=theme.MUTED, width=1.5, dash="dash"))
        fig.add_annotation(
            x=mark[0],
            y=0.42,
            yref="paper",
            text=mark[1],
            showarrow=False,
            xanchor="left",
            xshift=6,
            font=dict(size=13),
        )
    return fig


def loss_histogram(
    scaled: np.ndarray, wrong: np.ndarray, mixture: dict | None = None, *, height: int = 300
) -> go.Figure:
    """Histogram of losses (N,) in [0, 1] by right and wrong labels, and two Gaussian components.

    wrong: (N,) bool. mixture: the record's, or None to leave the curves out.
    """
    fig = theme.figure(height=height, x="loss, scaled to 0 ... 1", y="labels")
    edges = np.linspace(0, 1, N_BINS + 1)
    centers = (edges[:-1] + edges[1:]) / 2
    for words, rows, color, shape in (
        (RIGHT_WORDS, ~wrong, theme.CLEAN, ""),
        (WRONG_WORDS, wrong, theme.WRONG, "/"),
    ):
        counts, _ = np.histogram(scaled[rows], edges)
        fig.add_bar(
            x=centers,
            y=counts,
            name=words,
            width=1 / N_BINS,
            marker=dict(color=color, pattern_shape=shape, line_width=0),
            hovertemplate="loss %{x:.2f}: %{y} labels<extra>" + words + "</extra>",
        )
    if mixture is not None:
        for number, curve in enumerate(component_curves(centers, mixture, len(scaled) / N_BINS)):
            fig.add_scatter(
                x=centers,
                y=curve,
                mode="lines",
                showlegend=number == 0,
                name="fitted Gaussian components",
                line=dict(color=theme.MUTED, width=3, dash=theme.DASHES[number]),
                hoverinfo="skip",
            )
    fig.update_layout(barmode="stack", bargap=0, margin_t=60)
    _cut(fig, np.histogram(scaled, edges)[0], np.histogram(scaled[wrong], edges)[0])
    return fig


def _cut(fig: go.Figure, counts: np.ndarray, wrong: np.ndarray) -> None:
    """End the axis where wrong labels are still visible, and write the height of a cut bar."""
    tallest = int(counts.argmax())
    top = min(counts.max(), max(3 * wrong.max(), 10))
    fig.update_yaxes(range=[0, 1.08 * top])
    if top < counts.max():
        fig.add_annotation(
            x=(tallest + 0.5) / len(counts),
            y=1.0,
            yref="paper",
            yanchor="top",
            xanchor="left",
            xshift=32,
            text=f"↑ up to {counts[tallest]:,}",
            showarrow=False,
            font=dict(size=13),
        )


def component_curves(x: np.ndarray, mixture: dict, scale: float) -> list[np.ndarray]:
    """The two fitted densities at x, times scale."""
    densities = []
    for mean, std, weight in zip(
        mixture["means"], mixture["stds"], mixture["weights"], strict=True
    ):
        std = max(std, 1e-3)
        density = np.exp(-((x - mean) ** 2) / (2 * std**2)) / (std * np.sqrt(2 * np.pi))
        densities.append(scale * weight * density)
    return densities


def same_class_bars(same: np.ndarray) -> go.Figure:
    """same (K+1,): how many wrongly labeled images have 0 .. K neighbors of the same digit."""
    k = len(same) - 1
    fig = theme.figure(
        height=260,
        x=f"how many of the {k} neighbors show the same digit",
        y="wrongly labeled images",
    )
    fig.add_bar(
        x=list(range(k + 1)),
        y=same,
        marker_color=theme.CLEAN,
        text=same,
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{x} neighbors: %{y} images<extra></extra>",
    )
    fig.update_xaxes(dtick=1)
    fig.update_layout(margin_t=44)
    return fig


def label_bars(given: np.ndarray, mixed: np.ndarray, classes: Sequence[str]) -> go.Figure:
    """One label before and after mixing, (C,) each."""
    fig = theme.figure(height=250, x="digit", y="share of the label")
    for words, values, color, shape in (
        ("label as given", given, theme.WRONG, "/"),
        ("mixed label", mixed, theme.CLEAN, ""),
    ):
        fig.add_bar(
            x=[plotly(name) for name in classes],
            y=values,
            name=words,
            marker=dict(color=color, pattern_shape=shape),
            hovertemplate="%{x}: %{y:.1%}<extra>" + words + "</extra>",
        )
    fig.update_xaxes(type="category")
    fig.update_yaxes(range=[0, 1.02], tickformat=".0%")
    fig.update_layout(margin_t=60)
    return fig


def own_weights(wrong: float, right: float, equal: float) -> go.Figure:
    """Mean own weight of wrongly and rightly labeled images, compared with equal weights."""
    fig = theme.figure(height=170, x="weight that an image keeps, on average")
    fig.add_bar(
        x=[right, wrong],
        y=["right label", "wrong label"],
        orientation="h",
        marker=dict(color=[theme.CLEAN, theme.WRONG], pattern_shape=["", "/"]),
        text=[f"{right:.1%}", f"{wrong:.1%}"],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{x:.1%}<extra></extra>",
    )
    fig.add_vline(equal, line=dict(color=theme.MUTED, width=1.5, dash="dash"))
    fig.add_annotation(
        x=equal,
        y=1,
        yref="paper",
        yanchor="bottom",
        text="equal weights",
        showarrow=False,
        font=dict(size=13),
    )
    fig.update_xaxes(range=[0, 1.25 * max(right, wrong, equal)], tickformat=".0%")
    fig.update_layout(margin=dict(l=96, t=28))
    return fig


def result_bars(names: Sequence[str], test: Sequence[float], labels: Sequence[float]) -> go.Figure:
    """Test accuracy and right labels at the end of each run, one row a run, first run on top."""
    fig = theme.figure(height=80 + 52 * len(names))
    for words, values, color, shape in (
        ("labels right in the end", labels, theme.OKABE_ITO[1], "/"),
        ("test accuracy", test, theme.CLEAN, ""),
    ):
        fig.add_bar(
            x=list(values),
            y=[wrapped_lines(name) for name in names],
            orientation="h",
            name=words,
            marker=dict(color=color, pattern_shape=shape),
            text=[f"{value:.1%}" for value in values],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.1%}<extra>" + words + "</extra>",
        )
    fig.update_xaxes(range=[0, 1.14], tickformat=".0%", tickvals=[0, 0.25, 0.5, 0.75, 1])
    fig.update_yaxes(autorange="reversed", automargin=True)
    fig.update_layout(margin=dict(t=60, b=32), legend_traceorder="reversed")
    return fig


def wrapped_lines(text: str) -> str:
    """A long name in lines that leave room for the bars on a phone."""
    return "<br>".join(textwrap.wrap(text, 20))
