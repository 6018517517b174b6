"""The pictures of Compare: several runs at one epoch, each beside the other."""

from base64 import b64encode
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from app.components import figures, run_picker, text
from app.server import escaping
from app.server.run_manager import runs
from app.state.url_state import bound, get
from app.views.compare import selection
from engine.analysis.label_outcomes import outcome_counts, outcomes
from engine.charts import compare as charts
from engine.charts import curves, live_curves, theme
from engine.embedding.projection import pca
from engine.runs.folder import Run

ALWAYS = ("test_accuracy", "memorized", "label_accuracy")
SHOWN = {"test_accuracy": "test", "label_accuracy": "labels right", "memorized": "memorized"}


def cards(looks: dict[str, selection.Look], short: dict[str, str], waiting: list[str]) -> None:
    """The runs compared, each with its line, its state and its numbers at the epoch."""
    shown = [
        card(name, short[name], number, look) for number, (name, look) in enumerate(looks.items())
    ]
    for name in waiting:
        where = runs().info(name)
        told = f"number {where.position} in the queue" if where.position else "starting"
        shown.append(
            box(escaping.html(name), f"{run_picker.SIGNS[where.state]} {where.state}, {told}")
        )
    st.html(f'<div style="display:flex;flex-wrap:wrap;gap:10px">{"".join(shown)}</div>')


def card(name: str, short: str, number: int, look: selection.Look) -> str:
    """A run in a box, as HTML."""
    where = runs().info(name)
    metrics = look.run.epochs[look.row]["metrics"]
    numbers = " · ".join(
        f"{words} <b>{text.percent(metrics[key])}</b>"
        for key, words in SHOWN.items()
        if metrics.get(key) is not None
    )
    note = f'<div style="font-size:13px">{escaping.html(look.note)}</div>' if look.note else ""
    head = f"{line_sample(number)} <b>{escaping.html(short)}</b>"
    state = f"{run_picker.SIGNS[where.state]} {where.state}"
    small = f'<span style="font-size:13px;opacity:.8">{state} · {escaping.html(name)}</span>'
    return box(f"{head}<br>{small}", f"{numbers}{note}")


def box(head: str, body: str) -> str:
    return (
        '<div style="border:1px solid rgba(128,128,128,.4);border-radius:8px;padding:8px 14px;'
        f'min-width:250px;max-width:100%;overflow-wrap:anywhere">{head}<div>{body}</div></div>'
    )


def line_sample(number: int) -> str:
    """How a run's line looks: color, dash and symbol, as a small picture."""
    color, dash, _ = curves.run_style(number)
    gaps = {"solid": "", "dash": "7 4", "dot": "2 4", "dashdot": "8 3 2 3", "longdash": "12 4"}
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="34" height="10">'
        f'<line x1="0" y1="5" x2="34" y2="5" stroke="{color}" stroke-width="3" '
        f'stroke-dasharray="{gaps[dash]}"/></svg>'
    )
    url = "data:image/svg+xml;base64," + b64encode(svg.encode()).decode()
    return f'<img src="{url}" alt="" style="vertical-align:middle">'


def curve_pictures(names: list[str], short: dict[str, str], epoch: int, training: bool) -> None:
    """Four curves; the visitor chooses what the fourth shows."""
    lines = [selection.curve(name, short[name]) for name in names]
    others = [metric for metric in curves.METRICS if metric not in ALWAYS]
    fourth = get("metric") if get("metric") in others else "fit_clean"
    places = [*st.columns(2, gap="medium"), *st.columns(2, gap="medium")]
    for place, metric in zip(places, (*ALWAYS, fourth), strict=True):
        with place:
            if metric == fourth:
                st.selectbox(
                    "Fourth curve",
                    others,
                    label_visibility="collapsed",
                    format_func=lambda key: curves.METRICS[key].capitalize(),
                    **bound("metric", fourth, instead=True),
                )
            else:
                st.markdown(f"**{curves.METRICS[metric].capitalize()}**")
            one_curve(lines, metric, epoch, training)


def one_curve(lines: list[curves.Curve], metric: str, epoch: int, training: bool) -> None:
    values = [r["metrics"].get(metric) for line in lines for r in line.records]
    if all(value is None for value in values):
        st.info("These runs do not have it: it needs the true labels, or a validation part.")
    elif training:  # a plotly chart would be made anew with every epoch
        rows = [
            (live_curves.LINE, r["epoch"], line.name, r["metrics"][metric], "")
            for line in lines
            for r in [*line.before, *line.records]
            if r["metrics"].get(metric) is not None
        ]
        frame = pd.DataFrame(rows, columns=["kind", "epoch", "series", "value", "text"])
        span = (int(frame["epoch"].min()), max(int(frame["epoch"].max()), 1))
        spec = live_curves.curves_spec({line.name: line.name for line in lines}, span)
        st.vega_lite_chart(frame, spec, key=f"live-{metric}", height=230)
    else:
        told = ", ".join(
            f"{line.name} {text.percent(line.records[-1]['metrics'].get(metric))}" for line in lines
        )
        figures.show(
            curves.metric_curves(lines, metric, epoch=epoch),
            f"compare-{metric}",
            alt=f"{curves.METRICS[metric]} over the epochs; at the end: {told}",
            data=lambda: curves.metric_table(lines),
        )


def in_threes(items: list[Any]) -> list[tuple[Any, Any]]:
    """Places for one picture an item, at most three in a row."""
    wide = min(max(len(items), 2), 3)
    places = [place for _ in range(0, len(items), wide) for place in st.columns(wide)]
    return list(zip(items, places, strict=False))


def loss_pictures(looks: dict[str, selection.Look], short: dict[str, str]) -> None:
    """Losses of each run at the epoch, on the same axes."""
    st.subheader("Losses: can each tell right labels from wrong ones?", anchor=False)
    st.markdown(
        "How surprised each network is by the labels as they are now. Two humps far apart mean "
        "that wrong labels stand out; one hump near 0 that holds missed labels means that these "
        "are memorized."
    )
    found = {name: losses_at(look) for name, look in looks.items()}
    edges = charts.common_bins([loss for loss, _ in found.values()])
    for name, place in in_threes(list(looks)):
        loss, codes = found[name]
        with place:
            st.markdown(f"**{escaping.markdown(short[name])}**, epoch {epoch_of(looks[name])}")
            shares = ", ".join(
                f"{text.percent(n / len(loss))} {kind.word}"
                for kind, n in outcome_counts(codes).items()
                if n
            )
            figures.show(
                charts.loss_histogram(loss, codes, edges),
                f"compare-losses-{short[name]}",
                alt=f"Histogram of the losses of {short[name]}; of its labels {shares}",
            )


def losses_at(look: selection.Look) -> tuple[np.ndarray, np.ndarray]:
    """Losses (N,) and the LabelOutcome (N,) of each label."""
    labels = look.run.labels
    corrected = look.run.row("soft", look.row).argmax(1)
    codes = outcomes(labels["given"], labels.get("true"), corrected)
    return look.run.row("loss", look.row), codes


def map_pictures(looks: dict[str, selection.Look], short: dict[str, str]) -> None:
    """Maps of each run's features at the epoch."""
    st.subheader("Maps: do classes stay together?", anchor=False)
    st.markdown(
        "Each network's view of the same images, flat along the two directions in which they "
        "differ most (PCA). The color is the label as it is now; crosses are labels that are wrong."
    )
    class_legend([classes_of(look) for look in looks.values()])
    for name, place in in_threes(list(looks)):
        look, run = looks[name], looks[name].run
        samples = panel(run.labels["panel"])
        true = run.labels.get("true")
        now = run.row("soft", look.row)[samples].argmax(1)
        wrong = np.zeros(len(samples), bool) if true is None else now != true[samples]
        with place:
            st.markdown(f"**{escaping.markdown(short[name])}**, epoch {epoch_of(look)}")
            figures.show(
                charts.embedding_map(
                    layout(run, look.row), now, wrong, classes_of(look), samples=samples
                ),
                f"compare-map-{short[name]}",
                alt=f"Map of {len(samples)} images as {short[name]} sees them; {int(wrong.sum())} "
                "of their labels are wrong and marked by crosses",
            )


def class_legend(names: list[list[str]]) -> None:
    """The colors of the classes, where all runs have the same ones and they are few."""
    classes = names[0]
    if any(other != classes for other in names) or len(classes) > 14:
        st.caption("Point at a dot to read its class.")
        return
    chips = "".join(
        '<span style="white-space:nowrap">'
        f'<span style="color:{theme.class_color(number)}">●</span> '
        f"{escaping.html(name)}</span>"
        for number, name in enumerate(classes)
    )
    st.html(f'<div style="display:flex;flex-wrap:wrap;gap:2px 14px;font-size:14px">{chips}</div>')


def panel(samples: np.ndarray) -> np.ndarray:
    """The part of the panel that is drawn, spread evenly over it."""
    return samples[places(len(samples))]


def places(n: int) -> np.ndarray:
    return np.unique(np.linspace(0, n - 1, min(n, charts.MAX_POINTS)).astype(int))


@lru_cache(maxsize=256)
def layout(run: Run, row: int) -> np.ndarray:
    """PCA (P, 2) of a row's panel, turned to that of the first row so that it stays steady."""
    features = run.array("panel_features", row + 1)[row]
    features = np.asarray(features[places(len(features))], np.float32)
    return pca(features, previous=None if row == 0 else layout(run, 0))


def classes_of(look: selection.Look) -> list[str]:
    return look.run.info["data"]["classes"]


def epoch_of(look: selection.Look) -> int:
    return look.run.epochs[look.row]["epoch"]
