"""Train: what is happening now?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.components import (
    figures,
    live_updates,
    own_parts,
    page,
    run_picker,
    settings_form,
    settings_in_words,
    sharing,
    text,
)
from app.server import escaping, run_cache
from app.server.run_info import RunInfo
from app.server.visible_runs import runs
from app.state.url_state import get, put
from app.views.train.live_charts import CHARTS, STAGES, charts_of, diagnoses
from app.views.train.run_controls import controls, live_settings, progress
from app.views.train.variants import lineage, start, variants
from engine.analysis.summary import newest_test
from engine.config import RunConfig, configure
from engine.runs.records import epochs_file

if TYPE_CHECKING:
    import pandas as pd

UPDATE_SECONDS = 1.4  # between two updates of a run that trains; each takes time from training


def numbers(name: str, records: list[dict[str, Any]], cells: list) -> None:
    """Accuracy, memorization and noise rate after the latest epoch, one metric per cell."""
    last = records[-1]["metrics"]
    info = run_cache.run(name).info
    shown = [
        ("Test accuracy", newest_test(records).get("test_accuracy"), "test accuracy"),
        ("Label accuracy", last.get("label_accuracy"), "label recovery"),
        ("Memorization", last.get("memorized"), "memorization"),
    ]
    for cell, (label, value, term) in zip(cells, shown, strict=False):
        cell.metric(label, text.percent(value), help=page.word(term))
    requested, actual = info["rate_requested"], info["rate_actual"]
    wrong = "not known" if actual is None else text.percent(actual)
    of_noise = f" The noise rate of this run is {100 * requested:g} %." if requested else ""
    words = f"The share of the given labels that is wrong. {page.word('noise rate')}{of_noise}"
    cells[3].metric("Wrong labels given", wrong, help=words)


def charts(name: str, records: list[dict[str, Any]]) -> None:
    """The live curves and the seconds of each stage."""
    run = run_cache.run(name)
    drawn = charts_of(name, run.info["created"], len(records), run.alone)
    cells = [*st.columns(2), *st.columns(2)]
    for cell, (title, (series, note)) in zip(cells, CHARTS.items(), strict=False):
        with cell.container(border=True):
            st.markdown(f"**{title}** {note}")
            if title in drawn:
                st.vega_lite_chart(
                    *drawn[title],
                    key=f"live-{title.split()[0].lower()}",
                    alt=f"{title} Curves over the epochs: {', '.join(series.values())}".replace(
                        "\n", " "
                    ),
                )
            else:
                st.caption(missing_metrics(name, series))
    with cells[3].container(border=True):
        st.markdown(f"**{STAGES}** Seconds of each epoch by stage.")
        st.vega_lite_chart(
            *drawn[STAGES],
            key="live-stages",
            alt="Stacked bars: seconds of each stage of each epoch",
        )
    figures.save_csv(f"{name}-curves", lambda: table(records))


def missing_metrics(name: str, series: Mapping[str, str]) -> str:
    """Why a run has none of these metrics."""
    text = "This needs the true labels, which are not known here."
    if not run_cache.run(name).is_recorded:
        return text
    logged = ", ".join(f"{metric}=..." for metric in series)
    return f"{text} Or log them: `recorder.log(epoch, {logged})`."


def warnings(name: str, records: list[dict[str, Any]]) -> None:
    """The diagnosed failures of the run: the evidence, and what to try."""
    for diagnosis in diagnoses(name, run_cache.run(name).info["created"], len(records)):
        st.warning(
            f"**{diagnosis.name}.** {diagnosis.evidence} **Try:** {diagnosis.advice}",
            icon=":material/healing:",
        )


def table(records: list[dict[str, Any]]) -> pd.DataFrame:
    """Settings, metrics and seconds of the records, one row per epoch."""
    import pandas as pd

    return pd.json_normalize(
        [{k: r[k] for k in ("epoch", "phase", "settings", "metrics", "seconds")} for r in records]
    )


def watch(name: str) -> None:
    """The selected run, redrawn after each epoch while it is active."""

    @st.fragment(key="watch")
    @page.guarded
    def view() -> None:
        with live_updates.turn():
            draw(name)

    view()


def n_records(name: str) -> int:
    exists = epochs_file(runs().folder(name)).exists()
    return len(run_cache.records(name)) if exists else 0


def draw(name: str) -> None:
    info = runs().info(name)
    runs().mark_watched(name)
    drawn = n_records(name)
    with st.container(horizontal=True, vertical_alignment="center", key="run-controls"):
        run_picker.select_run("Run shown")
        if get("run") != name:
            st.rerun()
        run_picker.state_badge(info)
        controls(info)
        run_picker.player_link(name)
        sharing.share(name)
    bar = st.container()
    if info.state != "broken" and drawn:
        results(info)
    with bar:  # last, so that the browser requests an update when it has everything
        if info.active:
            follow(info, drawn)
        else:
            progress(info)


def results(info: RunInfo) -> None:
    """Numbers, diagnoses and charts of a run with records; settings that can change live."""
    records = run_cache.records(info.name)
    with st.container(key="run-numbers"):
        cells = st.columns([1, 1, 1, 1, 1.3, 1.3])
    numbers(info.name, records, cells[:4])
    live_settings(info, run_cache.run(info.name).config, records[-1]["settings"], cells[4:])
    warnings(info.name, records)
    charts(info.name, records)
    own_parts.show(run_cache.run(info.name))


def follow(info: RunInfo, drawn: int) -> None:
    """The progress of an active run; redraws it when its state or its number of epochs changes.

    drawn: epochs that are shown.
    """
    name = info.name

    def changed() -> str | None:
        runs().mark_watched(name)
        now = runs().info(name)
        if not now.active:
            return "app"  # it has ended: the page shows other controls
        return "watch" if now.state != info.state or n_records(name) != drawn else None

    show = page.guarded(lambda: progress(runs().info(name)))
    live_updates.poll("progress", changed, every=UPDATE_SECONDS, draw=show)


def next_run() -> RunConfig | None:
    """The settings of the next run and the button that starts it; None if they are invalid."""
    with st.container(border=True, key="next-run"):
        bar = st.container(horizontal=True, vertical_alignment="center")
        with bar:
            begin = st.container(width="content")
            words = st.container(key="next-words")
            changing = st.toggle("Settings", key="show-settings", width="content")
        config = settings_form.controls() if changing else settings_form.checked()
        if config is not None:
            words.markdown(f"**Next run** {escaping.lines(settings_in_words.in_words(config))}")
        with begin:
            clicked = st.button(
                "Start",
                type="primary",
                icon=":material/play_arrow:",
                key="start",
                disabled=config is None,
            )
            if clicked and config is not None:
                start(config)
                st.rerun()
    return config


page.head(
    "What is happening now?",
    "A network is trained on labels of which some were made wrong on purpose. It fits the right "
    "labels first and memorizes the wrong ones later; MixNN uses the time in between to correct "
    "them.",
    "noisy labels",
    "noise rate",
    "method",
    "early learning",
    "memorization",
    "label recovery",
    "K",
    "alpha",
    "warm-up",
    "correction",
    "P(clean)",
    "AUROC",
    "fork",
    "epoch",
    "seed",
)
chosen = run_picker.chosen_run()
config = None if get("guide") else next_run()
if chosen is None:
    st.markdown(
        "**Start** trains MixNN on 1,437 handwritten digits; it takes about ten seconds."
        if config in (None, configure())
        else "**Start** trains with the settings shown above; each epoch appears here."
    )
else:
    if get("run") != chosen:
        put(run=chosen)
    readable = (runs().folder(chosen) / "config.json").exists()
    if readable and runs().info(chosen).state != "broken":
        lineage(chosen)
    watch(chosen)
    if runs().info(chosen).state != "broken" and (runs().folder(chosen) / "config.json").exists():
        variants(chosen)
