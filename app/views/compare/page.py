"""Compare: does it help, and why?"""

import time

import streamlit as st

from app.components import epoch_slider, figures, live_updates, text
from app.components.page import guarded, head, word
from app.components.settings_form import noise_in_words, settings
from app.server import escaping, run_cache
from app.server.run_manager import runs
from app.server.visitors import visitor
from app.state import selection
from app.state.url_state import bound, get, put
from app.views.compare import panels
from app.views.compare import selection as lineup
from engine.analysis import run_table
from engine.charts import compare as charts
from engine.errors import ConfigError, StoreError

QUICK_LOOK, SLOW_LOOK = 1.5, 4.0  # seconds between two looks at runs that train


def listed() -> list[run_table.Row]:
    """All runs that the visitor may see, as table rows."""
    active = {where.name: where.state for where in runs().active()}
    return run_table.rows(runs().root, active, shown=runs().sees_folder)


def chosen(rows: list[run_table.Row]) -> list[str]:
    """The runs compared: those of the link that are there, else a pair that says something."""
    there = [row["name"] for row in rows]
    asked = list(get("compare"))
    missing = [name for name in asked if name not in there]
    if missing:
        st.warning(f"Not on this server, and left out: {escaping.markdown(', '.join(missing))}")
    names = [name for name in asked if name in there][: lineup.MOST]
    if not names:
        names = pair_of(rows)
        put(compare=tuple(names))
    if get("run") is None and names:
        put(run=names[-1])
    return names


def pair_of(rows: list[run_table.Row]) -> list[str]:
    """The newest run, and the one most alike that had another method."""
    ready = [row for row in rows if row["epochs"] and row["settings"]]
    if not ready:
        return [row["name"] for row in rows if row["state"] in ("queued", "running")][:2]
    newest, others = ready[0], ready[1:]

    def distance(row: run_table.Row) -> tuple[bool, int]:
        told = run_table.differing_settings([newest["settings"], row["settings"]])
        return row["method"] == newest["method"], len(told)

    nearest = sorted(others, key=distance)[:1]  # sorting keeps the newer one first
    return [row["name"] for row in (*nearest, newest)]


def pick(rows: list[run_table.Row], names: list[str]) -> None:
    """Which runs, and the button that makes the classic pair."""
    left, right = st.columns([3, 2], gap="large", vertical_alignment="bottom")
    # the link may name runs that are gone
    widget = bound("compare", list(names), convert=tuple, instead=True)
    with left:
        st.multiselect(
            f"Runs side by side (at most {lineup.MOST})",
            [row["name"] for row in rows],
            max_selections=lineup.MOST,
            placeholder="Choose runs, or mark rows in the table below",
            **widget,
        )
    with right:
        try:
            config = settings(method="ce", correction=None)
            told = (
                f"{escaping.markdown(config.dataset)}, {noise_in_words(config)}, seed {config.seed}"
            )
            problem = None
        except ConfigError as error:
            told, problem = "", escaping.lines(error)
        st.button(
            "Cross-entropy against MixNN",
            icon=":material/play_arrow:",
            type="primary",
            on_click=guarded(start_pair),
            disabled=problem is not None,
            key="start-pair",
            help="Trains both with the settings of the Train page, on exactly the same wrong "
            "labels, and shows them here.",
        )
        st.caption(problem or f"Trains both on the same wrong labels: {told}. Change it on Train.")


def start_pair() -> None:
    """Queue plain cross-entropy and MixNN on one noise, and open both."""
    noise_seed = settings(method="ce", correction=None).seed
    names: list[str] = []
    try:
        for method in ("ce", "mixnn"):
            config = settings(method=method, correction=None).changed(noise_seed=noise_seed)
            names.append(runs().submit(config, visitor=visitor()))
    except Exception:
        for name in names:  # half a pair compares nothing
            runs().stop(name, visitor())
        raise
    put(compare=tuple(names), run=names[-1], epoch=None)


def say_differences(names: list[str]) -> None:
    """What is set differently, and whether all learn from the same labels."""
    if len(names) < 2:
        st.caption("Choose a second run to see what tells them apart.")
        return
    told = lineup.differences(names)
    try:
        same = lineup.same_labels(names)
    except StoreError as error:
        st.caption(escaping.lines(error))
        return
    noise = (
        "All learn from exactly the same given labels, so what differs below comes from these "
        "settings alone."
        if same else
        "They learn from **different** given labels, so part of what differs is the noise's doing."
    )  # fmt: skip
    st.markdown(
        f"Set differently: {'; '.join(told)}. {noise}"
        if told
        else f"Nothing is set differently. {noise}"
    )


def ready(names: list[str]) -> tuple[list[str], list[str]]:
    """Of the runs compared those with an epoch to show, and those still waiting for one."""
    found, waiting = [], []
    for name in names:
        where = runs().info(name)
        if where.state == "broken":
            st.error(f"{escaping.lines(where.message)}. It is left out.")
            continue
        if has_epochs(name):
            found.append(name)
        elif where.active:
            waiting.append(name)
        else:
            why = f": {escaping.lines(where.message)}" if where.message else ""
            st.warning(f"{escaping.markdown(name)} has no epoch to show; it {where.state}{why}")
    return found, waiting


def has_epochs(name: str) -> bool:
    try:
        return bool(run_cache.records(name))
    except StoreError:
        return False


def side_by_side(names: list[str], waiting: list[str]) -> None:
    """The chosen runs at one epoch; while one trains the pictures follow by themselves."""
    say_differences(names)
    row, drawn = epoch_slider.scrub(*names, follow=False), time.monotonic()
    training = bool(waiting) or any(runs().info(name).active for name in names)
    follows = training and get("epoch") is None
    if training and not follows:
        st.button(
            "Follow the runs",
            icon=":material/skip_next:",
            on_click=lambda: put(epoch=None),
            help="Show the newest epoch that all have reached, as it comes",
        )

    def progress() -> list:
        return [(w.state, w.position) for w in map(runs().where, names + waiting)] + [
            len(run_cache.records(name)) for name in names
        ]

    @st.fragment(key="compare-quick")
    @guarded
    def quick() -> None:
        with live_updates.turn():
            seen = progress()
            _, still = ready(names + waiting)
            epoch = run_cache.epochs(*names)[selection.row(*names)]
            panels.cards({name: lineup.look(name, epoch) for name in names}, short, still)
            panels.curve_pictures(names, short, epoch, training)
            if training:
                live_updates.keep_looking("compare", lambda: changed(seen), every=QUICK_LOOK)

    def changed(seen: list) -> str | None:
        late = time.monotonic() - drawn > SLOW_LOOK
        if any(map(has_epochs, waiting)) or not _touch(names + waiting):
            return "app"
        if follows and late and selection.row(*names) != row:
            return "app"
        return "compare-quick" if progress() != seen else None

    short = dict(zip(names, lineup.short_names(names), strict=True))
    quick()
    epoch = run_cache.epochs(*names)[selection.row(*names)]
    sight = {name: lineup.look(name, epoch) for name in names}
    panels.loss_pictures(sight, short)
    panels.map_pictures(sight, short)


def wait(names: list[str]) -> None:
    """None of the runs has an epoch yet: say so, and look again soon."""

    def changed() -> str | None:
        return "app" if any(map(has_epochs, names)) or not _touch(names) else None

    @guarded
    def cards() -> None:
        panels.cards({}, {}, ready(names)[1])

    st.info("The first epochs are under way; this page fills itself in a moment.")
    live_updates.keep_looking("compare-wait", changed, every=1.0, draw=cards)


def _touch(names: list[str]) -> bool:
    """Tell that somebody looks; whether any still trains."""
    for name in names:
        runs().mark_watched(name)
    return any(runs().info(name).active for name in names)


COLUMNS = {
    "name": st.column_config.TextColumn("Run", pinned=True),
    "state": "State",
    "dataset": "Data",
    "method": "Method",
    "noise": "Noise",
    "rate": st.column_config.NumberColumn("Rate", format="percent", help="Noise asked for."),
    "rate_actual": st.column_config.NumberColumn(
        "Wrong", format="percent", help="Share of the given labels that are really wrong."
    ),
    "k": st.column_config.NumberColumn("K", help=word("K")),
    "alpha": st.column_config.NumberColumn("Alpha", help=word("alpha")),
    "seed": "Seed",
    "epochs": "Epochs",
    "planned": st.column_config.NumberColumn("Planned", help="Epochs planned."),
    "test_last": st.column_config.NumberColumn(
        "Test, last", format="percent", help=word("test accuracy")
    ),
    "test_best": st.column_config.NumberColumn("Test, best", format="percent"),
    "labels_right": st.column_config.NumberColumn(
        "Labels right", format="percent", help=word("label recovery")
    ),
    "memorized": st.column_config.NumberColumn(
        "Memorized", format="percent", help=word("memorization")
    ),
    "auroc": st.column_config.NumberColumn("AUROC", format="%.3f", help=word("AUROC")),
    "parent": st.column_config.TextColumn("Fork of"),
    "created": st.column_config.DatetimeColumn("When", format="YYYY-MM-DD HH:mm"),
    "message": "Message",
}


def all_runs(rows: list[run_table.Row], names: list[str]) -> None:
    """The table of all runs; its marked rows are the runs compared."""
    st.subheader("All runs", anchor=False)
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    with left:
        st.text_input(
            "Filter",
            placeholder="Filter: words that a run must bear, like  digits mixnn 0.4",
            label_visibility="collapsed",
            **bound("like"),
        )
    frame = run_table.table(rows)
    frame = frame[run_table.rows_matching(frame, get("like"))]
    with right:
        figures.save_csv("all-runs", frame)
    if frame.empty:
        st.markdown("No run bears all these words.")
        return
    shown = frame["name"].tolist()
    key = "runs-table"
    marked = [shown.index(name) for name in names if name in shown]
    st.session_state[key] = {"selection": {"rows": marked, "columns": [], "cells": []}}

    def take() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        now = [shown[row] for row in rows if row < len(shown)]
        kept = [name for name in names if name in now or name not in shown]
        put(compare=tuple((kept + [name for name in now if name not in kept])[: lineup.MOST]))

    st.caption(f"{len(shown)} runs. Mark rows to compare them; click a column's head to sort.")
    st.dataframe(
        frame.dropna(axis=1, how="all"),
        key=key,
        hide_index=True,
        column_config=COLUMNS,
        height=min(38 + 35 * len(frame), 420),
        on_select=take,
        selection_mode="multi-row",
    )


def sweeps() -> None:
    """Heat maps over K, alpha and noise rate of a folder of runs."""
    st.subheader("Sweeps: which K, alpha and noise?", anchor=False)
    folders = run_table.sweep_folders(runs().root, shown=runs().sees_folder)
    if not folders:
        st.markdown(
            "No folder of runs here differs in K, alpha or noise rate. Train some, and their "
            "heat map appears."
        )
        return
    first, second, third = st.columns(3)
    with first:
        folder = st.selectbox("Folder", list(folders), **_one_of("sweep", list(folders)))
    rows = run_table.rows(folders[folder], shown=runs().sees_folder)
    setups = run_table.sweeps_by_setup(rows)
    if not setups:
        st.markdown("None of its runs has finished yet.")
        return
    with second:
        setup = st.selectbox("Runs", list(setups), **_one_of("sweep_of", list(setups)))
    metrics = [m for m in run_table.METRICS if any(row[m] is not None for row in setups[setup])]
    with third:
        metric = st.selectbox(
            "Number", metrics, format_func=run_table.METRICS.get, **_one_of("sweep_metric", metrics)
        )
    cells, words = run_table.sweep_cells(setups[setup], metric), run_table.METRICS[metric]
    n_unfinished = sum(row["state"] != "done" for row in rows)
    st.markdown(run_table.sweep_caption(cells, words, n_unfinished))
    varying = [axis for axis in run_table.SWEEP_AXES if cells[axis].nunique() > 1]
    rates = sorted(cells["rate"].unique()) if len(varying) == 3 else [None]
    for rate, place in panels.in_threes(rates):
        best = cells if rate is None else cells[cells["rate"] == rate]
        with place:
            figures.show(
                charts.sweep_heatmap(cells, words, rate=rate),
                f"sweep-{metric}-{rate}",
                data=cells,
                alt=f"Heat map of {words} over {', '.join(varying)}; the highest cell has "
                f"{text.percent(best['mean'].max())}",
            )


def _one_of(name: str, options: list[str]) -> dict:
    """`bound` for a choice among what is there now."""
    value = get(name)
    return bound(name, value if value in options else options[0], instead=True)


def page() -> None:
    head(
        "Does it help, and why?",
        "Runs on the same images stand side by side at the same epoch: how well they do, what they "
        "learn by heart, and how they see the data.",
        "method",
        "cross-entropy",
        "test accuracy",
        "memorization",
        "label recovery",
        "AUROC",
        "loss",
        "PCA",
        "K",
        "alpha",
        "seed",
        "fork",
        "noise rate",
    )
    rows = listed()
    names = chosen(rows)
    pick(rows, names)
    if not rows:
        st.info(
            "There is no run yet. The button above trains a pair to compare; it takes half a "
            "minute on the digits."
        )
        return
    names, waiting = ready(names)
    if names:
        side_by_side(names, waiting)
    elif waiting:
        wait(waiting)
    all_runs(rows, names + waiting)
    sweeps()


page()
