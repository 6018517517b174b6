"""Which runs to compare, and the button that trains a pair of them."""

import streamlit as st

from app.components import run_names, seeds
from app.components.page import guarded
from app.components.settings_form import settings
from app.components.settings_in_words import noise_in_words
from app.server import escaping
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state.url_state import bound, get, put
from app.views.compare import over_seeds
from app.views.compare.comparison import MAX_RUNS
from engine.analysis import run_changes, run_table
from engine.config import LABEL_SETTINGS
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
    """The selected run, else the newest, and the most similar one, at best of another method."""
    ready = [row for row in rows if row["epochs"] and row["settings"]]
    if not ready:
        return [row["name"] for row in rows if row["state"] in ("queued", "running")][:2]
    chosen = next((row for row in ready if row["name"] == get("run")), ready[0])
    others = [row for row in ready if row["name"] != chosen["name"]]

    def distance(row: run_table.Row) -> tuple[int, bool, bool]:
        differing = run_changes.differing_settings([chosen["settings"], row["settings"]])
        same_labels = not {*LABEL_SETTINGS, "noise_seed"} & differing.keys()
        return not same_labels, not row["pure"], row["method"] == chosen["method"]

    nearest = sorted(others, key=distance)[:1]  # sorting keeps the newer one first
    return [row["name"] for row in (*nearest, chosen)]


def choose(rows: list[run_table.Row], names: list[str], labels: dict[str, str]) -> None:
    """The list of runs to choose from, and the buttons that train a pair and more seeds."""
    left, right = st.columns([3, 2], gap="large", vertical_alignment="bottom")
    # the link may name runs that do not exist
    widget = bound("compare", list(names), convert=tuple, instead=True)
    with left:
        st.multiselect(
            f"Runs side by side (at most {MAX_RUNS})",
            [row["name"] for row in rows],
            format_func=lambda name: labels.get(name, name),
            max_selections=MAX_RUNS,
            placeholder="Choose runs, or mark rows of “All runs” below",
            **widget,
        )
        if names:
            over_seeds.controls(names, rows)
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
        help="Both with the settings of the Train page, on exactly the same wrong labels. What "
        "exists is shown, what does not is trained.",
    )
    st.caption(problem or f"Both on the same wrong labels: {words}. Change it on Train.")


def start_pair() -> None:
    """Open plain cross-entropy and MixNN with the same noise; train what does not exist yet."""
    noise_seed = settings(method="ce", correction=None).seed
    configs = [
        settings(method=method, correction=None).changed(noise_seed=noise_seed)
        for method in ("ce", "mixnn")
    ]
    rows = run_names.rows()
    found = [seeds.existing(config, rows) for config in configs]
    missing = [config for config, name in zip(configs, found, strict=True) if name is None]
    new = iter(runs().submit_together(missing, visitor=visitor()) if missing else [])
    names = [name or next(new) for name in found]
    put(compare=tuple(names), run=names[-1], epoch=None)
