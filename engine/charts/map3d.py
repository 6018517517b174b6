"""The embedding map in three dimensions: arrays in, figure out."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from engine.charts import theme
from engine.charts.escaping import plotly

CROSS = "cross"  # plotly draws "x" in 3-D as an emoji, which fonts may lack
FAINT_OPACITY = 0.12  # of points outside the selection


def embedding_map_3d(
    layout: np.ndarray,
    ids: np.ndarray,
    color: np.ndarray,
    palette: Sequence[str],
    *,
    title: str,
    names: Sequence[str] | None = None,
    ends: tuple[str, str] = ("", ""),
    cross: np.ndarray | None = None,
    cross_name: str = "",
    selected: np.ndarray | None = None,
    sample: int = -1,
    links: Sequence[tuple[int, float]] = (),
    box: np.ndarray | None = None,
    height: int = 620,
) -> go.Figure:
    """Points (P, 3) in colors palette[color] with their ids (P,) to read by hovering.

    names: of the palette's rows, for a legend; without them the palette is a scale between ends.
    cross (P,) bool: points shown as crosses. selected (P,) bool: the others turn faint. links:
    (position, weight) of the lines from point `sample`. box (2, 3): least and largest place.
    """
    fig = theme.figure(height=height)
    shown = np.ones(len(layout), bool) if selected is None or not selected.any() else selected
    crossed = np.zeros(len(layout), bool) if cross is None else cross
    colors = np.array(palette, dtype=object)
    for chosen, symbol, size, opacity in (
        (shown & ~crossed, "circle", 4, 0.85),
        (shown & crossed, CROSS, 5, 0.95),
        (~shown, "circle", 3, FAINT_OPACITY),
    ):
        if not chosen.any():
            continue
        x, y, z = layout[chosen].T
        paint = colors[color[chosen]] if opacity > FAINT_OPACITY else theme.MUTED
        fig.add_scatter3d(
            x=x,
            y=y,
            z=z,
            mode="markers",
            customdata=ids[chosen],
            showlegend=False,
            hovertemplate="sample %{customdata}<extra></extra>",
            marker=dict(size=size, color=paint, symbol=symbol, opacity=opacity, line_width=0),
        )
    for position, weight in links if sample >= 0 else ():
        x, y, z = layout[[sample, position]].T
        fig.add_scatter3d(
            x=x,
            y=y,
            z=z,
            mode="lines",
            showlegend=False,
            hoverinfo="skip",
            line=dict(color=theme.MUTED, width=2 + 10 * weight),
        )
    if sample >= 0:
        _marks(
            fig, layout[sample], f"sample {ids[sample]}", theme.HIGHLIGHT, "circle-open", size=11
        )
    _legend(fig, title, palette, names, ends)
    if cross_name:
        _marks(fig, [None] * 3, cross_name, theme.MUTED, CROSS)
    low, high = (layout.min(0), layout.max(0)) if box is None else box
    axes = {
        f"{axis}axis": dict(range=[low[i], high[i]], visible=False) for i, axis in enumerate("xyz")
    }
    fig.update_layout(
        scene=axes | dict(aspectmode="cube", camera_eye=dict(x=1.05, y=1.05, z=0.6)),
        margin=dict(l=0, r=0, t=36, b=0),
        legend=dict(itemsizing="constant", y=0, yanchor="top", title_text=title),
    )
    return fig


def _legend(
    fig: go.Figure,
    title: str,
    palette: Sequence[str],
    names: Sequence[str] | None,
    ends: tuple[str, str],
) -> None:
    if names is not None:
        for name, color in zip(names, palette, strict=True):
            _marks(fig, [None] * 3, plotly(name), color, "circle")
        return
    scale = [[i / (len(palette) - 1), color] for i, color in enumerate(palette)]
    bar = dict(title_text=title, tickvals=[0, 1], ticktext=list(ends), thickness=14, len=0.6)
    fig.add_scatter3d(
        x=[None],
        y=[None],
        z=[None],
        mode="markers",
        showlegend=False,
        hoverinfo="skip",
        marker=dict(color=[0], cmin=0, cmax=1, colorscale=scale, colorbar=bar, showscale=True),
    )


def _marks(
    fig: go.Figure, place: Sequence, name: str, color: str, symbol: str, size: float = 6
) -> None:
    x, y, z = place
    fig.add_scatter3d(
        x=[x],
        y=[y],
        z=[z],
        mode="markers",
        name=name,
        hoverinfo="name",
        marker=dict(size=size, color=color, symbol=symbol),
    )
