"""Figures of the losses: histogram with the mixture, ROC, trajectories, classes."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from engine.analysis import loss_analysis
from engine.analysis.label_outcomes import LabelOutcome
from engine.analysis.loss_analysis import ClassLosses, Detection, RocCurve
from engine.charts import theme
from engine.charts.escaping import plotly

# name of a group of labels -> color, pattern of bars, symbol
GROUP_STYLES = {
    "right": (theme.CLEAN, "", "circle"),
    "wrong": (theme.WRONG, "/", "diamond"),
    "all": ("#009E73", "", "circle"),
}
MAX_CLASSES = 20
CURVE_POINTS = 201
TOP_MARGIN = 40  # pixels above a plot, for the tool bar
LEGEND_BELOW = dict(yref="container", y=0, yanchor="bottom")  # a legend clear of the tool bar


def loss_histogram(
    bars: dict[str, np.ndarray],
    top: float,
    *,
    height: str,
    tallest: float,
    title: str,
    x: np.ndarray | None = None,
    components: np.ndarray | None = None,
    posterior: np.ndarray | None = None,
    threshold: float = 0.5,
    flagged: Sequence[tuple[float, float]] = (),
) -> go.Figure:
    """Histogram of losses, the fitted Gaussian components on the same scale, P(clean) below.

    bars: group ("right", "wrong" or "all") -> (B,) counts in equal bins from 0 to top. height:
    "cut", "full" or "log"; tallest: where the count axis ends in all epochs. title: of the loss
    axis. x: (X,) losses; components: (2, X) in counts; posterior: (X,); flagged: intervals of the
    loss axis where P(clean) is below the threshold.
    """
    fig = theme.figure(height=520)
    fig.set_subplots(2, 1, shared_xaxes=True, row_heights=[0.72, 0.28], vertical_spacing=0.05)
    fig.update_layout(
        barmode="overlay",
        bargap=0.04,
        hovermode="x unified",
        margin_t=TOP_MARGIN,
        legend=LEGEND_BELOW,
    )
    fig.update_xaxes(range=[0, top], **theme.GRID).update_yaxes(**theme.GRID)
    n_bins = len(next(iter(bars.values())))
    centers = (np.arange(n_bins) + 0.5) * top / n_bins
    for group, values in bars.items():
        color, pattern, _ = GROUP_STYLES[group]
        name = "all labels" if group == "all" else f"label is {group}"
        fig.add_bar(
            x=centers,
            y=values,
            name=name,
            opacity=0.7,
            marker=dict(
                color=color,
                line_width=0,
                pattern=dict(
                    shape=pattern, size=6, fillmode="overlay", fgcolor="rgba(255,255,255,0.6)"
                ),
            ),
            hovertemplate="%{y:,}",
            row=1,
            col=1,
        )
    if components is not None:
        names = ("clean component", "noisy component", "mixture")
        styles = ((theme.CLEAN, "solid"), (theme.WRONG, "dash"), (theme.MUTED, "dot"))
        for name, (color, dash), y in zip(
            names, styles, [*components, components.sum(0)], strict=True
        ):
            fig.add_scatter(
                x=x,
                y=y,
                name=name,
                mode="lines",
                line=dict(color=color, dash=dash, width=2.5),
                hovertemplate="%{y:,.0f}",
                row=1,
                col=1,
            )
    _count_axis(fig, bars, centers, height, tallest)
    if posterior is not None:
        _posterior(fig, x, posterior, threshold, flagged)
    fig.update_xaxes(title_text=title, row=2, col=1)
    fig.update_yaxes(title_text="P(clean)", range=[-0.03, 1.03], tickvals=[0, 0.5, 1], row=2, col=1)
    return fig


def mixture_histogram(
    scaled: np.ndarray, wrong: np.ndarray, mixture: dict, threshold: float = 0.5
) -> go.Figure:
    """`loss_histogram` of losses (N,) in [0, 1] by right and wrong labels, and of their mixture.

    wrong: (N,) bool. mixture: its means, stds and weights. threshold: on P(clean).
    """
    x = np.linspace(0, 1, CURVE_POINTS)
    posterior = loss_analysis.clean_posterior(mixture, x)
    densities = loss_analysis.component_densities(mixture, x)
    assert posterior is not None
    assert densities is not None
    return loss_histogram(
        {
            "right": loss_analysis.bin_counts(scaled[~wrong], 1.0),
            "wrong": loss_analysis.bin_counts(scaled[wrong], 1.0),
        },
        1.0,
        height="cut",
        tallest=loss_analysis.histogram_axes(scaled[None], None, scaled=True).cut,
        title="loss, scaled to 0 ... 1",
        x=x,
        components=densities * len(scaled) / loss_analysis.N_BINS,
        posterior=posterior,
        threshold=threshold,
        flagged=loss_analysis.true_intervals(x, np.less(posterior, threshold)),
    )


def _count_axis(fig, bars, centers, height: str, tallest: float) -> None:
    """The axis of counts; bars cut by a zoomed axis are labeled with their count."""
    if height == "log":
        fig.update_yaxes(type="log", range=[-0.3, np.log10(max(tallest, 2)) + 0.1], row=1, col=1)
        fig.update_yaxes(title_text="labels (log)", dtick=1, row=1, col=1)
        return
    fig.update_yaxes(title_text="labels", range=[0, tallest * 1.03], row=1, col=1)
    if height == "full":
        return
    highest = np.max(list(bars.values()), axis=0)
    for place in np.flatnonzero(highest > tallest * 1.03):
        fig.add_annotation(
            x=centers[place],
            y=tallest * 1.02,
            text=f"▲ {highest[place]:,}",
            showarrow=False,
            textangle=-90,
            yanchor="top",
            font=dict(size=12, color="white"),
            bgcolor="rgba(20,24,30,0.72)",
            borderpad=1,
            row=1,
            col=1,
        )


def _posterior(fig, x, posterior, threshold: float, flagged) -> None:
    """The panel of P(clean) with the threshold, and the flagged losses in both panels."""
    fig.add_scatter(
        x=x,
        y=posterior,
        mode="lines+markers",
        name="P(clean)",
        showlegend=False,
        marker=dict(size=12, opacity=0),
        customdata=posterior,  # a line alone takes no click
        line=dict(color="#009E73", width=3),
        hovertemplate="%{y:.2f}",
        row=2,
        col=1,
    )
    fig.add_hline(threshold, line=dict(color=theme.HIGHLIGHT, width=2.5, dash="dash"), row=2, col=1)
    for low, high in flagged:
        for row in (1, 2):
            fig.add_vrect(
                low,
                high,
                fillcolor=theme.HIGHLIGHT,
                opacity=0.13,
                line_width=0,
                layer="below",
                row=row,
                col=1,
            )
    for place in {edge for span in flagged for edge in span} - {x[0], x[-1]}:
        fig.add_vline(
            place, line=dict(color=theme.HIGHLIGHT, width=2.5, dash="dash"), row="all", col=1
        )
    if flagged:
        low, high = max(flagged, key=lambda span: span[1] - span[0])
        fig.add_annotation(
            x=(low + high) / 2,
            y=1,
            yref="y domain",
            yanchor="top",
            text="flagged",
            showarrow=False,
            font=dict(size=13, color=theme.HIGHLIGHT),
            row=1,
            col=1,
        )


def roc_curve(curve: RocCurve, now: Detection, threshold: float) -> go.Figure:
    """The ROC curve of detecting wrong labels, and the point of the current threshold."""
    fig = theme.figure(height=380, x="right labels flagged", y="wrong labels flagged")
    fig.update_layout(margin_t=TOP_MARGIN, legend=LEGEND_BELOW)
    fig.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        name="guessing",
        hoverinfo="skip",
        line=dict(color=theme.MUTED, dash="dot"),
    )
    fig.add_scatter(
        x=curve.false_positive_rate,
        y=curve.true_positive_rate,
        mode="lines+markers",
        name="any threshold",
        line=dict(color=theme.CLEAN, width=3),
        marker=dict(size=5),
        fill="tozeroy",
        fillcolor="rgba(0,114,178,0.10)",
        customdata=curve.thresholds,
        hovertemplate="threshold %{customdata:.3f}<br>%{y:.1%} of the wrong labels flagged"
        "<br>%{x:.1%} of the right ones flagged<extra></extra>",
    )
    fig.add_scatter(
        x=[now.false_positive_rate],
        y=[now.recall],
        mode="markers",
        name=f"threshold {threshold:.2f}",
        marker=dict(color=theme.WRONG, size=15, symbol="diamond-open", line_width=3),
        hovertemplate="%{y:.1%} of wrong, %{x:.1%} of right flagged<extra>now</extra>",
    )
    fig.update_xaxes(range=[-0.02, 1.02], tickformat=".0%")
    fig.update_yaxes(range=[-0.02, 1.04], tickformat=".0%")
    fig.add_annotation(
        x=0.97,
        y=0.06,
        text=f"AUROC {curve.auroc:.3f}",
        showarrow=False,
        xanchor="right",
        font=dict(size=18),
    )
    return fig


def trajectories(
    epochs: Sequence[int],
    values: np.ndarray,
    names: Sequence[str],
    outcomes: Sequence[int],
    *,
    memorized: Sequence[bool] | None = None,
    now: int | None = None,
    y: str,
    probability: bool,
) -> go.Figure:
    """Values (R, S) of S samples over R epochs, in the color of the outcome of each one's label.

    outcomes: (S,) values of LabelOutcome. memorized: (S,) which wrong labels the network predicts;
    their lines are thicker. now: the epoch to mark.
    """
    fig = theme.figure(height=380, x="epoch", y=y)
    fig.update_layout(margin_t=TOP_MARGIN, legend=LEGEND_BELOW)
    shown: set[str] = set()
    learned = [False] * len(names) if memorized is None else memorized
    for name, code, flag, column in zip(names, outcomes, learned, values.T, strict=True):
        style, group = theme.OUTCOMES[LabelOutcome(code)], outcome_name(code, flag)
        fig.add_scatter(
            x=list(epochs),
            y=column,
            name=group,
            legendgroup=group,
            showlegend=group not in shown,
            mode="lines+markers" if len(epochs) <= 40 else "lines",
            line=dict(color=style.color, dash=style.dash, width=4 if flag else 2),
            marker=dict(symbol=style.symbol, size=7),
            hovertemplate=f"{plotly(name)}: %{{y:.3f}}",
        )
        shown.add(group)
    high = 1.0 if probability else max(float(np.nanmax(values, initial=0.0)), 1e-6)
    fig.update_yaxes(range=[-0.04 * high, 1.05 * high])
    span = max(epochs[-1] - epochs[0], 1)
    fig.update_xaxes(range=[epochs[0] - 0.02 * span, epochs[-1] + 0.02 * span])
    if now is not None:
        theme.epoch_line(fig, now, "", theme.HIGHLIGHT)
    fig.update_layout(hovermode="closest")
    return fig


def outcome_name(outcome: int, memorized: bool = False) -> str:
    """The word of a LabelOutcome, and whether the network has memorized the wrong label."""
    return LabelOutcome(outcome).word + (", memorized" if memorized else "")


def losses_by_class(
    lines: Sequence[ClassLosses], names: Sequence[str], *, top: float, title: str
) -> go.Figure:
    """One row a class: median (marker), middle half (thick) and middle 80 % (thin) of its losses.

    lines: at most MOST_CLASSES are shown, the first ones. names: of all classes.
    """
    lines = list(lines)[:MAX_CLASSES]
    fig = theme.figure(height=TOP_MARGIN + 90 + 34 * len(lines), x=title)
    fig.update_layout(margin_t=TOP_MARGIN, legend=LEGEND_BELOW)
    kinds = [kind for kind in GROUP_STYLES if any(kind in line.quantiles for line in lines)]
    for number, kind in enumerate(kinds):
        color, _, symbol = GROUP_STYLES[kind]
        shift = 0.0 if len(kinds) == 1 else (0.16, -0.16)[number]
        rows = [
            (i + shift, line.quantiles[kind])
            for i, line in enumerate(lines)
            if kind in line.quantiles
        ]
        for low, high, width in ((0, 4, 2), (1, 3, 8)):
            xs = [v for _, q in rows for v in (q[low], q[high], None)]
            ys = [v for y, _ in rows for v in (y, y, None)]
            fig.add_scatter(
                x=xs,
                y=ys,
                mode="lines",
                line=dict(color=color, width=width),
                opacity=0.6,
                showlegend=False,
                hoverinfo="skip",
            )
        sizes = [line.sizes[kind] for line in lines if kind in line.quantiles]
        fig.add_scatter(
            x=[q[2] for _, q in rows],
            y=[y for y, _ in rows],
            mode="markers",
            customdata=sizes,
            name="all labels" if kind == "all" else f"label is {kind}",
            marker=dict(color=color, size=11, symbol=symbol, line=dict(color="white", width=1.5)),
            hovertemplate="median %{x:.3f} of %{customdata:,} labels<extra></extra>",
        )
    shown = [plotly(names[line.class_id], 40) for line in lines]
    ticks = [
        f"{name}  {line.auroc:.2f}" if line.auroc is not None else name
        for name, line in zip(shown, lines, strict=True)
    ]
    fig.update_yaxes(
        tickvals=list(range(len(lines))),
        ticktext=ticks,
        range=[len(lines) - 0.4, -0.6],
        automargin=True,
        showgrid=False,
        zeroline=False,
    )
    fig.update_xaxes(range=[-0.01 * top, top])
    return fig
