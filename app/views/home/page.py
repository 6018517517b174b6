"""Home: what happens to wrong labels? A recording that plays by itself, and a pair to train."""

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from app.components import live_updates, page, player, text
from app.components.glossary import GLOSSARY
from app.server import escaping, player_routes
from app.server.run_info import RunInfo
from app.server.visible_runs import runs
from app.state.url_state import bound, get, link, put
from app.views.home import pair
from engine.config import METHOD_NOTES, RunConfig
from engine.errors import ConfigError

HEIGHT = "max(500px, calc(100dvh - 12rem))"  # the title above and the line below stay visible
UPDATE_SECONDS = 1.4
CLOSER = {  # page -> what it shows of a pair, in the order of the navigation
    "train": "Train", "losses": "Losses", "map": "Map", "sample": "Sample", "labels": "Labels",
    "compare": "Compare",
}  # fmt: skip


def head() -> None:
    """The product's name, and what it is about."""
    with st.container(horizontal=True, vertical_alignment="center", key="home-head"):
        st.header("MixNN Lab", anchor=False, width="content")
        st.markdown(
            "Learning with noisy labels: plain training memorizes wrong labels, MixNN finds and "
            "corrects them."
        )


def play(chosen: Sequence[RunInfo]) -> None:
    """The player: of the visitor's pair, else of the shipped recording."""
    if chosen:
        names = [run.name for run in chosen]
        player.show(names, key="home-player", height=HEIGHT, autoplay=True)
        return
    try:
        file = player_routes.shipped()
    except OSError as error:
        st.error(f"The recording assets/{player_routes.SHIPPED.name} cannot be read: {error}")
        return
    player.show_file(file, key="home-player", height=HEIGHT, autoplay=True)


def acting(name: str, shown: float, within: tuple[float, float], act: Callable[[], None]) -> dict:
    """`bound` for a widget that also acts when the visitor moves it."""
    widget = bound(name, shown, within=within)
    take = widget["on_change"]

    def moved() -> None:
        take()
        act()

    return widget | {"on_change": page.guarded(moved)}


def try_it(chosen: Sequence[RunInfo]) -> None:
    """One line: the settings of a pair, and the button that starts it."""
    try:
        base, problem = pair.configs()[1], ""
    except ConfigError as error:
        base, problem = RunConfig(), escaping.lines(error)
    with st.container(horizontal=True, vertical_alignment="bottom", key="home-try"):
        st.markdown("**Try it yourself**", width="content")
        st.slider(
            "K, neighbors",
            1,
            20,
            help=GLOSSARY["K"] + " Acts at the next epoch of a pair that trains.",
            disabled=base.mixing != "neighbors",
            **acting("k", base.k, (1, 20), lambda: pair.change("k")),
        )
        st.slider(
            "Alpha",
            0.0,
            1.0,
            step=0.01,
            help=GLOSSARY["alpha"] + " Acts at the next epoch of a pair that trains.",
            disabled=base.correction != "ema",
            **acting("alpha", base.alpha, (0, 1), lambda: pair.change("alpha")),
        )
        st.slider(
            "Noise rate",
            0.0,
            1.0,
            step=0.05,
            help=GLOSSARY["noise rate"] + " Starts a new pair.",
            **acting("rate", base.rate, (0, 1), pair.restart),
        )
        st.selectbox(
            "Method",
            list(pair.METHODS),
            format_func=pair.METHODS.__getitem__,
            help="Trained beside cross-entropy, on the same wrong labels.\n"
            + "\n".join(f"- **{words}**: {METHOD_NOTES[m]}" for m, words in pair.METHODS.items()),
            **bound("method", pair.method(), instead=True),
        )
        st.button(
            "Start",
            type="primary",
            icon=":material/play_arrow:",
            key="start",
            disabled=bool(problem),
            on_click=page.guarded(pair.start),
            help="Trains cross-entropy and the method at the same time, and shows both above.",
        )
        if chosen:
            st.button("Example", key="example", on_click=lambda: put(pair=None), type="tertiary")
    if problem:
        st.error(problem)


def progress(names: Sequence[str]) -> None:
    """What the pair waits for, how far it is, or how it ended."""
    pairs = [runs().info(name) for name in names]
    active = [run for run in pairs if run.active]
    for run in pairs:
        if run.state == "failed":
            st.error(f"{escaping.markdown(run.name)} failed: {escaping.lines(run.message)}")
        elif not run.active and run.state != "done" and run.message:
            st.warning(f"{escaping.markdown(run.name)}: {escaping.lines(run.message)}")
    if not active:
        return
    waiting = [run for run in active if run.state == "queued"]
    if len(waiting) == len(active):
        ahead = min(run.position for run in waiting) - 1
        order = f"{ahead} {'run is' if ahead == 1 else 'runs are'} ahead" if ahead else "it is next"
        st.info(f"The pair waits in the queue: {order}.", icon=":material/hourglass:")
        return
    slowest = min(active, key=lambda run: (run.state != "queued", run.epoch))
    also = "" if pair.may_change(slowest) else " Another visitor started it: Start makes your own."
    st.progress(
        min(slowest.epoch / max(slowest.n_epochs, 1), 1.0),
        f"Both train: epoch {slowest.epoch} of {slowest.n_epochs - 1}"
        f"{text.time_left(slowest.seconds_left)}.{also}",
    )


def follow(chosen: Sequence[RunInfo]) -> None:
    """The progress of a pair that trains; its end reruns the page."""
    names = [run.name for run in chosen]

    def changed() -> str | None:
        return None if any(runs().info(name).active for name in names) else "app"

    live_updates.poll(
        "pair", changed, every=UPDATE_SECONDS, draw=page.guarded(lambda: progress(names))
    )


def closer(chosen: Sequence[RunInfo]) -> None:
    """Links to the pages that show more of the pair."""
    names = tuple(run.name for run in chosen)
    with st.container(horizontal=True, vertical_alignment="center", key="home-links"):
        st.markdown("Look closer at this pair:", width="content")
        for name, title in CLOSER.items():
            st.page_link(
                f"views/{name}/page.py",
                label=title,
                width="content",
                query_params=link(run=names[-1], compare=names),
            )


st.html(Path(__file__).with_name("home.css"))
head()
runs_shown = pair.shown()
if missing := [n for n in get("pair") if n not in {run.name for run in runs_shown}]:
    st.warning(f"Not on this server: {escaping.markdown(', '.join(missing))}")
play(runs_shown)
try_it(runs_shown)
if any(run.active for run in runs_shown):
    follow(runs_shown)
elif runs_shown:
    progress([run.name for run in runs_shown])
if runs_shown:
    closer(runs_shown)
