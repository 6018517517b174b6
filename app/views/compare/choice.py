"""Which runs to compare, and the button that trains a pair of them."""

import streamlit as st

from app.components.page import guarded
from app.components.settings_form import settings
from app.components.settings_in_words import noise_in_words
from app.server import escaping
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state.url_state import bound, get, put
from app.views.compare.comparison import MAX_RUNS
from engine.analysis import run_table
from engine.errors import ConfigError


def chosen_runs(rows: list[run_table.Row]) -> list[str]:
    """Names of the runs to compare: those of the link that exist, else a suggested pair."""
    existing = [row["name"] for row in rows]
    selected = list(get("compare"))
    missing = [name for name in selected if name not in existing]
    if missing:
        st.warning(f"Not on this server, and left out: {escaping.markdown(', '.join(missing))}")
    names = [name for name in selected if name in existing][:MAX_RUNS]
    if not names:
        names = suggested_pair(rows)
        put(compare=tuple(names))
    if get("run") is None and names:
        put(run=names[-1])
    return names


def suggested_pair(rows: list[run_table.Row]) -> list[str]:
    """The newest run, and the most similar one of another method."""
    ready = [row for row in rows if row["epochs"] and row["settings"]]
    if not ready:
        return [row["name"] for row in rows if row["state"] in ("queued", "running")][:2]
    newest, others = ready[0], ready[1:]

    def distance(row: run_table.Row) -> tuple[bool, int]:
        differing = run_table.differing_settings([newest["settings"], row["settings"]])
        return row["method"] == newest["method"], len(differing)

    nearest = sorted(others, key=distance)[:1]  # sorting keeps the newer one first
    return [row["name"] for row in (*nearest, newest)]


def choose(rows: list[run_table.Row], names: list[str]) -> None:
    """The list of runs to choose from, and the button that trains a pair."""
    left, right = st.columns([3, 2], gap="large", vertical_alignment="bottom")
    # the link may name runs that do not exist
    widget = bound("compare", list(names), convert=tuple, instead=True)
    with left:
        st.multiselect(
            f"Runs side by side (at most {MAX_RUNS})",
            [row["name"] for row in rows],
            max_selections=MAX_RUNS,
            placeholder="Choose runs, or mark rows in the table below",
            **widget,
        )
    with right:
        pair_button()


def pair_button() -> None:
    """Train cross-entropy and MixNN with the settings of the Train page."""
    problem = words = ""
    try:
        config = settings(method="ce", correction=None)
        words = f"{escaping.markdown(config.dataset)}, {noise_in_words(config)}, seed {config.seed}"
    except ConfigError as error:
        problem = escaping.lines(error)
    st.button(
        "Cross-entropy against MixNN",
        icon=":material/play_arrow:",
        type="primary",
        on_click=guarded(start_pair),
        disabled=bool(problem),
        key="start-pair",
        help="Trains both with the settings of the Train page, on exactly the same wrong "
        "labels, and shows them here.",
    )
    st.caption(problem or f"Trains both on the same wrong labels: {words}. Change it on Train.")


def start_pair() -> None:
    """Queue plain cross-entropy and MixNN with the same noise, and open both."""
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
