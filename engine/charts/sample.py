"""One sample in pictures: its labels as bars, and everything about it over the epochs."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from engine.charts import theme
from engine.charts.escaping import plotly

MAX_BARS = 12  # classes shown at once
MAX_AREAS = 9  # classes with an area of their own; the others share one
PATTERNS = ("", "/", ".")
COLORS = (theme.CLEAN, theme.HIGHLIGHT, theme.OKABE_ITO[2])
MAX_EPOCHS_WITH_LABELS = 40  # epochs up to which a neighbor's class is written into its cell


def label_bars(
    classes: Sequence[str],
    shares: dict[str, np.ndarray],
    notes: dict[int, str] | None = None,
    *,
    height: int = 290,
) -> go.Figure:
    """Shares of the classes (C,) in [0, 1] as bars, one color and pattern for each title.

    notes: text below the name of a class, such as "given".
    """
    notes = notes or {}
    shown = top_classes(np.stack(list(shares.values())), notes)
    names = [_tick(classes[c], notes.get(c)) for c in shown]
    fig = theme.figure(height=height, y="share", barmode="group", bargap=0.25)
    for number, (title, values) in enumerate(shares.items()):
        fig.add_bar(
            x=names,
            y=values[shown],
            name=title,
            marker=dict(
                color=COLORS[number],
                pattern=dict(shape=PATTERNS[number], fillmode="overlay", fgcolor="white", size=6),
            ),
            hovertemplate="%{x}: %{y:.1%}<extra>" + title + "</extra>",
        )
    fig.update_yaxes(range=[0, 1.02], tickformat=".0%", dtick=0.25, title_text="")
    longest = max(len(str(classes[c])) for c in shown)
    fig.update_xaxes(type="category", tickangle=0 if longest * len(shown) <= 40 else -40)
    # below: above the bars it would meet the tool bar on a narrow page
    fig.update_layout(margin=dict(l=48, r=8, t=30, b=44), legend=dict(y=-0.3, yanchor="top"))
    return fig


def top_classes(shares: np.ndarray, always: dict[int, str]) -> list[int]:
    """Classes to show of shares (n, C), in order: all where few, else the largest and `always`."""
    if shares.shape[1] <= MAX_BARS:
        return list(range(shares.shape[1]))
    largest = np.argsort(-shares.max(0), kind="stable")[: MAX_BARS - len(always)].tolist()
    return sorted({*largest, *always})


def sample_history(
    epochs: np.ndarray,
    history: dict[str, np.ndarray],
    classes: Sequence[str],
    epoch: int | None = None,
    true: np.ndarray | None = None,
) -> go.Figure:
    """A sample over R epochs, in rows: loss, P(clean), soft label, neighbors.

    history: see `engine.analysis.sample_history`. epoch: the one to mark. true: (N,) labels.
    """
    k = history["neighbors"].shape[1]
    strip = 26 * min(k, 8) + 10 * max(0, k - 8)
    heights = [90, 90, 150] + ([strip + 10] if k else [])
    titles = ["Loss", "P(clean)  ◆ the corrected label changed", "Soft label: share of each class"]
    titles += ["Neighbors and their labels (1 = nearest)"] if k else []
    fig = theme.figure()
    fig.set_subplots(
        rows=len(heights),
        shared_xaxes=True,
        row_heights=heights,
        subplot_titles=titles,
        vertical_spacing=32 / (sum(heights) + 32 * len(heights)),
    )
    _lines(fig, epochs, history)
    _areas(fig, epochs, history["soft"], classes)
    if k:
        _strip(fig, epochs, history, classes, true)
    grid = theme.GRID | dict(zeroline=False)
    fig.update_xaxes(range=[epochs[0] - 0.5, epochs[-1] + 0.5], **grid)
    fig.update_xaxes(title_text="epoch", tickformat="d", row=len(heights))
    fig.update_yaxes(**grid)
    if epoch is not None:
        fig.add_vline(epoch, line=dict(color=theme.MUTED, width=2, dash="dash"))
    fig.update_annotations(x=0, xanchor="left", font_size=14)
    fig.update_layout(
        height=sum(heights) + 32 * len(heights) + 70,
        hovermode="closest",
        margin=dict(l=44, r=8, t=28, b=48),
        legend=dict(y=-60 / sum(heights), yanchor="top"),
    )
    return fig


def _lines(fig: go.Figure, epochs: np.ndarray, history: dict[str, np.ndarray]) -> None:
    mode = "lines" if len(epochs) > 2 else "lines+markers"
    for row, (name, title) in enumerate((("loss", "loss"), ("clean", "P(clean)")), 1):
        fig.add_scatter(
            x=epochs,
            y=history[name],
            mode=mode,
            line=dict(color=theme.CLEAN, width=2),
            name=title,
            showlegend=False,
            row=row,
            col=1,
            hovertemplate="epoch %{x}: %{y:.3f}<extra>" + title + "</extra>",
        )
    changed = history["label_changed"]
    fig.add_scatter(
        x=epochs[changed],
        y=history["clean"][changed],
        mode="markers",
        showlegend=False,
        row=2,
        col=1,
        name="label changed",
        marker=dict(symbol="diamond", size=10, color=theme.WRONG),
        hovertemplate="epoch %{x}: the corrected label changed<extra></extra>",
    )
    fig.update_yaxes(rangemode="tozero", nticks=4, row=1)
    fig.update_yaxes(range=[-0.05, 1.08], dtick=0.5, row=2)


def _areas(fig: go.Figure, epochs: np.ndarray, soft: np.ndarray, classes: Sequence[str]) -> None:
    """The soft label (R, C) as stacked areas; classes with little weight share one."""
    weight = soft.max(0)
    shown = np.sort(np.argsort(-weight, kind="stable")[:MAX_AREAS])
    shown = shown[weight[shown] > 0.02]
    areas = [(plotly(classes[c]), theme.class_color(c), soft[:, c]) for c in shown]
    others = 1 - soft[:, shown].sum(1)
    if others.max() > 0.005:
        areas.append(("other classes", theme.MUTED, others))
    for name, color, values in areas:
        fig.add_scatter(
            x=epochs,
            y=values,
            stackgroup="soft",
            name=name,
            row=3,
            col=1,
            fillcolor=color,
            mode="lines" if len(epochs) > 1 else "markers",
            line=dict(color=color, width=0.5),
            marker=dict(size=12),
            hovertemplate="epoch %{x}: %{y:.1%}<extra>" + name + "</extra>",
        )
    fig.update_yaxes(range=[0, 1], tickformat=".0%", dtick=0.5, row=3)


def _strip(
    fig: go.Figure,
    epochs: np.ndarray,
    history: dict[str, np.ndarray],
    classes: Sequence[str],
    true: np.ndarray | None,
) -> None:
    """Neighbors (R, K) as a heat map of rank and epoch, in the color of their label."""
    ids, labels = history["neighbors"].T, history["neighbor_labels"].T  # (K, R)
    k, n = ids.shape
    names = np.array([*map(plotly, classes), ""], dtype=object)  # -1 is no label
    truth = np.full(ids.shape, "", object)
    if true is not None:
        truth = np.where(ids >= 0, "<br>true label " + names[true[ids]], "")
    shares = history["weights"][:, 1:].T
    fig.add_heatmap(
        x=epochs,
        y=np.arange(1, k + 1),
        z=np.where(labels < 0, np.nan, labels),
        row=4,
        col=1,
        colorscale=_class_scale(len(classes)),
        zmin=-0.5,
        zmax=len(classes) - 0.5,
        showscale=False,
        xgap=1 if n <= 120 else 0,
        ygap=1,
        customdata=np.dstack([ids, shares, history["distances"].T]),
        text=names[labels],
        hovertext="label " + names[labels] + truth,
        hoverongaps=False,
        hovertemplate="epoch %{x}, rank %{y}: sample %{customdata[0]}<br>%{hovertext}"
        "<br>weight %{customdata[1]:.3f}, distance %{customdata[2]:.2f}<extra></extra>",
    )
    if n <= MAX_EPOCHS_WITH_LABELS and max(map(len, map(str, classes))) <= 2:
        fig.update_traces(texttemplate="%{text}", selector=dict(type="heatmap"))
    _name_colors(fig, np.unique(labels[labels >= 0]), names)
    ticks = [1, *range(5, k + 1, 5)] if k > 8 else list(range(1, k + 1))
    fig.update_yaxes(range=[k + 0.5, 0.5], tickvals=ticks, row=4)


def _name_colors(fig: go.Figure, class_ids: np.ndarray, names: np.ndarray) -> None:
    """Legend entries for the classes of the strip that have no area."""
    named = {trace.name for trace in fig.data}
    for c in [c for c in class_ids if names[c] not in named][:MAX_AREAS]:
        marker = dict(symbol="square", size=12, color=theme.class_color(c))
        fig.add_scatter(x=[None], y=[None], mode="markers", marker=marker, name=names[c])


def _class_scale(n_classes: int) -> list[tuple[float, str]]:
    """A color scale in steps: class c between c - 0.5 and c + 0.5."""
    return [
        (edge / n_classes, theme.class_color(c)) for c in range(n_classes) for edge in (c, c + 1)
    ]


def _tick(name: str, note: str | None) -> str:
    return f"{plotly(name)}<br><b>{note}</b>" if note else plotly(name)
