"""Charts of a data set before training."""

import numpy as np
import plotly.graph_objects as go

from engine.charts import theme
from engine.charts.escaping import plotly

MAX_BARS = 24


def class_counts(names: list[str], counts: np.ndarray) -> go.Figure:
    """Images of each class as bars, the most first; counts (C,) integers.

    Of many classes the largest and the smallest are shown, with a gap between them.
    """
    order = np.argsort(-counts, kind="stable")
    gap = len(order) > MAX_BARS
    if gap:
        order = np.concatenate([order[: MAX_BARS // 2], order[-(MAX_BARS // 2) :]])
    labels = [plotly(names[c], 18) for c in order]
    fig = theme.figure(
        height=100 + 24 * max(len(order), 3), x="images", margin=dict(l=56, r=40, t=40, b=48)
    )
    fig.add_bar(
        x=counts[order],
        y=list(range(len(order))),
        orientation="h",
        marker_color=theme.CLEAN,
        text=[f"{count:,}" for count in counts[order]],
        textposition="auto",
        cliponaxis=False,
        customdata=[plotly(names[c]) for c in order],
        name="images",
        hovertemplate="%{customdata}: %{x:,} images<extra></extra>",
    )
    fig.update_yaxes(
        tickvals=list(range(len(order))), ticktext=labels, autorange="reversed", automargin=True
    )
    if gap:
        fig.add_hline(MAX_BARS / 2 - 0.5, line=dict(color=theme.MUTED, dash="dot"))
    return fig
