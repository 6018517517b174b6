"""Starting runs: a new one, several seeds, or a variant of an existing one, new or as a fork."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from app.components import page, run_names, seeds
from app.components.settings_form import MAX_K
from app.server import escaping, run_cache
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state.url_state import link, put
from engine.analysis.run_changes import fork_of, in_words, settings_at
from engine.config import METHODS, RunConfig
from engine.config.rules import unused_settings
from engine.errors import EngineError
from engine.runs.folder import RunFolder

SLIDERS: dict[str, dict[str, Any]] = {  # setting -> its slider
    "rate": dict(label="Noise rate", step=0.05),
    "k": dict(label="K, neighbors"),
    "alpha": dict(label="Alpha", step=0.01),
    "correction_start": dict(label="Correction starts in epoch"),
}


def start(config: RunConfig) -> None:
    """Queue a run and select it."""
    put(run=runs().submit(config, visitor=visitor()), epoch=None, sample=None, lasso=None)


def lineage(name: str) -> None:
    """What a fork was forked from, after which epoch and with what; and the forks of a run."""
    run = run_cache.run(name)
    labels = run_names.labels()
    fork = fork_of(run)
    if fork is not None:
        changed = ", ".join(
            f"{in_words(setting, before)} → {in_words('', after)}"
            for setting, (before, after) in fork.settings.items()
        )
        with st.container(horizontal=True, vertical_alignment="center", key="fork-of"):
            changes = escaping.markdown(changed) if changed else "without a changed setting"
            st.markdown(
                f":material/call_split: **Fork** after epoch {fork.epoch}, {changes}. "
                f"Epochs 0 to {fork.epoch} are those of"
            )
            if fork.parent in labels:
                _link_to(fork.parent, labels)
            else:
                st.markdown(f"{escaping.markdown(fork.parent)}, which is no longer here")
    forks = [
        row["name"]
        for row in run_names.rows()
        if row["fork"] and row["fork"].parent == name and row["name"] in labels
    ]
    if forks:
        with st.container(horizontal=True, vertical_alignment="center", key="forks"):
            st.markdown(":material/call_split: Forks of this run:")
            for fork_name in forks:
                _link_to(fork_name, labels)


def _link_to(name: str, labels: dict[str, str]) -> None:
    st.page_link(
        "views/train/page.py",
        label=escaping.markdown(labels[name]),
        query_params=link(run=name, epoch=None),
        width="content",
    )


def variants(name: str) -> None:
    """A form that starts a run with other settings: from scratch, as a fork, or with more seeds.

    Not for a private run that was shared: its data belong to the owner.
    """
    if runs().private(name) and not runs().may_control(name, visitor()):
        return
    run = run_cache.run(name)
    if run.is_recorded:
        return
    with st.expander("Start a variant of this run: a fork, a new run, or more seeds"):
        st.markdown(
            "A **fork** continues from this run's network after an epoch, which isolates the "
            "effect of the change. A **new run** starts from scratch."
        )
        wanted = shown_settings(run)
        buttons = st.columns([2, 1, 1, 1], gap="medium", vertical_alignment="bottom")
        fork(run, wanted, buttons)
        with buttons[2]:
            if st.button("New run", key="beside", width="stretch", help="From the first epoch"):
                start_variant(run.config, wanted)
        with buttons[3]:
            repeat(run)


def shown_settings(run: RunFolder) -> dict[str, Any]:
    """Controls for the settings of a variant; returns what they show, as far as it has an effect.

    "method" is there only where it is another one.
    """
    config, name = run.config, run.folder.name
    columns = st.columns(5, gap="medium", vertical_alignment="bottom")
    methods = list(METHODS)
    method = columns[0].selectbox(
        "Method",
        methods,
        methods.index(config.method) if config.method in methods else None,
        key=f"other-method-{name}",
        placeholder=config.method,
    )
    wanted: dict[str, Any] = {}
    if method is not None and method != config.method:
        wanted["method"] = method
    base = config.varied(**wanted)
    unused = unused_settings(base)
    for (setting, slider), column in zip(SLIDERS.items(), columns[1:], strict=True):
        limits = {
            "correction_start": (config.warmup, config.epochs),
            "k": (1, max(min(MAX_K, len(run.labels["given"]) - 1), config.k)),
        }
        low, high = limits.get(setting, (0.0, 1.0))
        value = column.slider(
            value=min(max(getattr(base, setting), low), high),
            min_value=low,
            max_value=high,
            key=f"other-{setting.replace('_', '-')}-{name}",
            disabled=setting in unused,
            **slider,
        )
        if setting not in unused:
            wanted[setting] = value
    return wanted


def start_variant(config: RunConfig, wanted: dict[str, Any]) -> None:
    """Start a run from its first epoch with other settings."""
    variant = config.varied(**wanted)
    if variant == config:
        st.error("Nothing is changed: choose another method, noise rate, K or alpha first.")
        return
    start(variant)
    st.rerun()


def fork(run: RunFolder, wanted: dict[str, Any], columns: Sequence[Any]) -> None:
    """Choose the epoch of a fork, and start it."""
    name = run.folder.name
    epochs = run.checkpoints()[:-1]  # after the last one nothing is left
    if len(epochs) <= 1:
        columns[0].caption("A fork needs an epoch with a stored network.")
        return
    middle = epochs[len(epochs) // 2]
    epoch = columns[0].select_slider("Fork after epoch", epochs, middle, key=f"fork-epoch-{name}")
    with columns[1]:
        if st.button("Fork", key="fork", width="stretch"):
            held = settings_at(run, epoch)
            settings = {n: v for n, v in wanted.items() if v != getattr(held, n)}
            try:
                forked = runs().fork(name, epoch, visitor=visitor(), **settings)
            except EngineError as error:
                page.explain(error)
                return
            put(run=forked, epoch=None)
            st.rerun()


def repeat(run: RunFolder) -> None:
    """Repeat a run with other seeds, and show their mean on Compare."""
    rows, name = run_names.rows(), run.folder.name
    row = next((row for row in rows if row["name"] == name), None)
    pure = row is not None and row["pure"]
    clicked = st.button(
        seeds.REPEAT,
        key="repeat",
        disabled=not pure,
        width="stretch",
        help=seeds.REPEAT_HELP if pure else seeds.MIXED_HELP,
    )
    if clicked and row is not None:
        try:
            seeds.repeat([row["config"]])
        except EngineError as error:
            page.explain(error)
            return
        query = link(compare=(name,), seeds=True, epoch=None)
        st.switch_page("views/compare/page.py", query_params=query)
