"""Charts that compare runs: losses, maps, sweeps; arrays in, figure out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from engine.analysis.label_outcomes import LabelOutcome, samples_by_outcome
from engine.charts.escaping import plotly
from engine.charts.theme import MUTED, OUTCOMES, class_color, figure, stripes

N_BINS = 40
MAX_POINTS = 1200  # points; drawn as SVG, since browsers allow few WebGL charts on a page
NO_RUN = "no run"


def common_bins(losses: Sequence[np.ndarray]) -> np.ndarray:
    """Edges (B + 1,) that hold all but the largest half percent of several runs' losses."""
    tops = [np.quantile(loss[np.isfinite(loss)], 0.995) for loss in losses if len(loss)]
    return np.linspace(0, max([*tops, 1e-3]), N_BINS + 1)


def loss_histogram(
    loss: np.ndarray, outcomes: np.ndarray, edges: np.ndarray, *, height: int = 290
) -> go.Figure:
    """Histogram of one run's losses (N,) split by label outcome; the last bin holds all beyond.

    outcomes: (N,) values of LabelOutcome. edges: (B + 1,), the same for all runs.
    """
    fig = figure(height=height, x="loss", y="share of labels", barmode="stack", bargap=0.03)
    legend = dict(font_size=12, traceorder="normal", y=-0.38, yanchor="top")
    fig.update_layout(margin=dict(l=56, r=8, t=32, b=84), legend=legend)
    for kind, shares in outcome_shares(loss, outcomes, edges).items():
        style = OUTCOMES[kind]
        fig.add_bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=shares,
            width=np.diff(edges),
            name=kind.word,
            marker=dict(color=style.color, line_width=0, pattern=stripes(style.pattern)),
            hovertemplate=f"loss about %{{x:.2f}}: %{{y:.1%}}<br>{kind.word}<extra></extra>",
        )
    fig.update_yaxes(tickformat=".0%", rangemode="tozero")
    fig.update_xaxes(range=[edges[0], edges[-1]])
    return fig


def outcome_shares(
    loss: np.ndarray, outcomes: np.ndarray, edges: np.ndarray
) -> dict[LabelOutcome, np.ndarray]:
    """Share of all labels in each bin (B,), for each outcome that occurs."""
    clipped = np.clip(np.nan_to_num(loss, nan=edges[-1], posinf=edges[-1]), edges[0], edges[-1])
    return {
        kind: np.histogram(clipped[samples], edges)[0] / max(len(loss), 1)
        for kind, samples in samples_by_outcome(outcomes).items()
    }


def embedding_map(
    layout: np.ndarray,
    labels: np.ndarray,
    wrong: np.ndarray,
    classes: Sequence[str],
    *,
    samples: np.ndarray,
    height: int = 340,
    key: bool = False,
) -> go.Figure:
    """A 2-D map: layout (P, 2), color by label (P,) class ids, wrong ones (P,) bool as crosses.

    samples: (P,) data set indices, for the hover. key: name the classes' colors in the legend.
    """
    fig = figure(height=height, margin=dict(l=4, r=4, t=56, b=4), legend=dict(font_size=12))
    names = [plotly(name) for name in classes]
    color = np.array([class_color(c) for c in range(len(classes))])
    for marked, symbol, words in ((False, "circle", "label right"), (True, "x", "label wrong now")):
        if not (wrong == marked).any():
            continue
        own = wrong == marked
        fig.add_scatter(
            x=layout[own, 0],
            y=layout[own, 1],
            mode="markers",
            name=words,
            showlegend=False,
            marker=dict(
                color=color[labels[own]],
                symbol=symbol,
                size=7 if marked else 5,
                opacity=0.95 if marked else 0.6,
                line=dict(width=0.5 if marked else 0, color="white"),
            ),
            customdata=np.stack([samples[own], labels[own]], axis=1),
            text=[names[c] for c in labels[own]],
            hovertemplate="sample %{customdata[0]}<br>label now: %{text}<extra></extra>",
        )
        fig.add_scatter(  # the legend's mark, in no class's color
            x=[None],
            y=[None],
            mode="markers",
            name=words,
            marker=dict(color=MUTED, symbol=symbol, size=8),
        )
    for name, own in zip(names, color, strict=True) if key else ():
        mark = dict(color=own, symbol="circle", size=8)
        fig.add_scatter(x=[None], y=[None], mode="markers", name=name, marker=mark)
    fig.update_xaxes(visible=False)
    fig.update_yaxes(visible=False, scaleanchor="x")
    return fig


def sweep_heatmap(
    cells: pd.DataFrame, words: str, *, rate: float | None = None, height: int | None = None
) -> go.Figure:
    """Heat maps of a sweep: the axes that vary, one map per rate where all three do.

    cells: columns k, alpha, rate, n, mean, std. Each cell shows its mean, one without a
    run says so. words: title of the metric. rate: draw only the map of this rate, with the color
    scale of all.
    """
    names = {"k": "K", "alpha": "alpha", "rate": "noise rate"}
    varying = [axis for axis in names if cells[axis].nunique() > 1] or ["k"]
    x = varying[0]
    y = varying[1] if len(varying) > 1 else next(axis for axis in ("alpha", "k") if axis != x)
    facet = "rate" if len(varying) == 3 else None
    parts: list[tuple[Any, pd.DataFrame]] = (
        [(None, cells)] if facet is None else list(cells.groupby(facet))
    )
    if rate is not None:
        parts = [part for part in parts if part[0] in (None, rate)]
    columns, rows = sorted(cells[x].unique()), sorted(cells[y].unique())
    fig = figure(height=height or 150 + 58 * len(rows))
    fig.set_subplots(
        1,
        len(parts),
        shared_yaxes=True,
        horizontal_spacing=0.03,
        subplot_titles=[f"noise rate {value:g}" for value, _ in parts] if facet else None,
    )
    fig.update_layout(
        margin=dict(l=8, r=8, t=60 if facet else 36, b=8),
        coloraxis=dict(
            colorscale="Cividis",
            cmin=cells["mean"].min(),
            cmax=cells["mean"].max(),
            colorbar=dict(title=dict(text=words, side="right"), tickformat=".0%", thickness=12),
        ),
    )
    for number, (_, part) in enumerate(parts, start=1):
        heat = _cells(part, x, y, columns, rows, names)
        fig.add_trace(heat, 1, number)
        fig.add_trace(_holes(heat), 1, number)
        fig.update_xaxes(title_text=names[x], row=1, col=number)
    fig.update_xaxes(type="category", showgrid=False)
    fig.update_yaxes(type="category", showgrid=False)
    fig.update_yaxes(title_text=names[y], col=1)
    return fig


def _cells(
    part: pd.DataFrame,
    x: str,
    y: str,
    columns: list[float],
    rows: list[float],
    names: dict[str, str],
) -> go.Heatmap:
    def grid(value: str) -> np.ndarray:
        spread = part.pivot_table(index=y, columns=x, values=value, aggfunc="mean", dropna=False)
        return spread.reindex(index=rows, columns=columns).to_numpy(float)

    mean, n, std = grid("mean"), np.nan_to_num(grid("n")), grid("std")
    text = np.where(np.isnan(mean), "", np.char.mod("%.1f %%", 100 * np.nan_to_num(mean)))
    hover = np.empty(mean.shape, dtype=object)
    for cell in np.ndindex(mean.shape):
        spread = "" if np.isnan(std[cell]) else f" ± {100 * std[cell]:.1f} (standard deviation)"
        hover[cell] = (
            f"{100 * mean[cell]:.1f} %{spread}<br>{_count(int(n[cell]))}" if n[cell] else NO_RUN
        )
    return go.Heatmap(
        z=mean,
        x=[f"{v:g}" for v in columns],
        y=[f"{v:g}" for v in rows],
        text=text,
        texttemplate="%{text}",
        customdata=hover,
        coloraxis="coloraxis",
        xgap=2,
        ygap=2,
        hoverongaps=True,
        hovertemplate=f"{names[x]} %{{x}}, {names[y]} %{{y}}<br>%{{customdata}}<extra></extra>",
    )


def _holes(heat: go.Heatmap) -> go.Scatter:
    """Words in the cells without a run; plotly writes no text of its own there."""
    holes = [(heat.x[j], heat.y[i]) for i, j in np.argwhere(np.isnan(heat.z))]
    return go.Scatter(
        x=[x for x, _ in holes],
        y=[y for _, y in holes],
        mode="text",
        text=[NO_RUN] * len(holes),
        textfont=dict(color=MUTED),
        hoverinfo="skip",
        showlegend=False,
    )


def _count(n: int) -> str:
    return "one seed" if n == 1 else f"mean of {n} seeds"
