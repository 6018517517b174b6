"""Home: what happens to wrong labels? A recording that plays by itself, and a pair to train."""

from collections.abc import Callable, Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.components import live_updates, page, player, settings_in_words, text
from app.components.glossary import GLOSSARY
from app.components.settings_form import MAX_K
from app.server import escaping, player_routes
from app.server.first_page import ABOUT, TITLE
from app.server.run_info import RunInfo
from app.server.visible_runs import runs
from app.state.url_state import bound, get, link, put
from app.views.home import pair
from engine.config import METHOD_NOTES, RunConfig
from engine.errors import ConfigError

HEIGHT = "var(--home-player)"  # of style.css, as that of the first picture
UPDATE_SECONDS = 1.4
METHODS_HELP = "Trained at the same time as cross-entropy, on the same wrong labels.\n" + "\n".join(
    f"- **{words}**: {METHOD_NOTES[name]}" for name, words in pair.METHODS.items()
)
CLOSER = {  # page -> what it shows of a pair, in the order of the navigation
    "train": "Train", "losses": "Losses", "map": "Map", "sample": "Sample", "labels": "Labels",
    "compare": "Compare",
}  # fmt: skip


def head() -> None:
    """The product's name, and what it is about."""
    with st.container(horizontal=True, vertical_alignment="center", key="home-head"):
        st.header(TITLE, anchor=False, width="content")
        st.markdown(ABOUT)


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


def setting(words: str, about: str, width: int) -> DeltaGenerator:
    """A cell of the line of settings, after its words: the widget's own label is for readers of
    the screen.
    """
    cell = st.container(horizontal=True, vertical_alignment="center", width=width, gap="small")
    cell.markdown(words, help=about, width="content")
    return cell


def try_it() -> str:
    """One line: the settings of a pair, and the button that starts it; what this button does."""
    try:
        base = pair.configs()[1]
        does = (
            f"Start trains cross-entropy and {pair.METHODS[pair.method()]} on {base.dataset}, "
            f"{settings_in_words.noise_in_words(base)}, {base.epochs} epochs: watch both above "
            "while they learn."
        )
    except ConfigError as error:
        base, does = RunConfig(), ""
        problem = escaping.lines(error)
    live = " Acts at the next epoch of a pair that trains."
    with st.container(horizontal=True, vertical_alignment="center", key="home-try"):
        st.markdown("**Try it yourself**", width="content")
        setting("K", GLOSSARY["K"] + live, 180).slider(
            "K",
            1,
            MAX_K,
            disabled=base.mixing != "neighbors",
            label_visibility="collapsed",
            **acting("k", base.k, (1, MAX_K), lambda: pair.change("k")),
        )
        setting("Alpha", GLOSSARY["alpha"] + live, 220).slider(
            "Alpha",
            0.0,
            1.0,
            step=0.01,
            disabled=base.correction != "ema",
            label_visibility="collapsed",
            **acting("alpha", base.alpha, (0, 1), lambda: pair.change("alpha")),
        )
        setting("Noise rate", GLOSSARY["noise rate"] + " Starts a new pair.", 250).slider(
            "Noise rate",
            0.0,
            1.0,
            step=0.05,
            label_visibility="collapsed",
            **acting("rate", base.rate, (0, 1), pair.restart),
        )
        setting("Method", METHODS_HELP, 260).selectbox(
            "Method",
            list(pair.METHODS),
            format_func=pair.METHODS.__getitem__,
            label_visibility="collapsed",
            **bound("method", pair.method(), instead=True),
        )
        st.button(
            "Start",
            type="primary",
            icon=":material/play_arrow:",
            key="start",
            disabled=not does,
            on_click=page.guarded(pair.start),
        )
    if not does:
        st.error(problem)
    return escaping.lines(does)


def progress(names: Sequence[str]) -> None:
    """What the pair waits for, how far it is, or how it ended."""
    both = [runs().info(name) for name in names]
    for run in both:
        if not run.active and run.state != "done":
            message = f": {escaping.lines(run.message)}" if run.message else ""
            st.warning(f"{escaping.markdown(run.name)}: {run.state}{message}")
    active = [run for run in both if run.active]
    waiting = [run for run in active if run.state == "queued"]
    if not active:
        if all(run.state == "done" for run in both):
            st.markdown("Both are done. Look closer:")
    elif len(waiting) == len(active):
        ahead = min(run.position for run in waiting) - 1
        order = f"{ahead} {'run is' if ahead == 1 else 'runs are'} ahead" if ahead else "it is next"
        st.markdown(f"Waiting in the queue: {order}.")
    else:
        training(active)


def training(active: Sequence[RunInfo]) -> None:
    """How far a pair is, of which at least one run trains."""
    behind = min(active, key=lambda run: (run.state != "queued", run.epoch))
    words = f"Epoch {behind.epoch} of {behind.n_epochs - 1}{text.time_left(behind.seconds_left)}"
    if behind.state == "paused":
        words = f"Paused at epoch {behind.epoch}: continue it on Train"
    elif behind.state == "queued":
        words = f"{escaping.markdown(behind.name)} waits for a free slot"
    theirs = "" if pair.may_change(behind) else " Another visitor trains it; Start trains your own."
    st.markdown(f"{words}.{theirs}")


def below(chosen: Sequence[RunInfo], does: str) -> None:
    """The last line: what Start does, or the state of the pair and links to its pages."""
    names = tuple(run.name for run in chosen)
    with st.container(horizontal=True, vertical_alignment="center", key="home-below"):
        if not chosen:
            st.caption(does, width="stretch")
            st.page_link("views/train/page.py", label="More settings", query_params=link())
            return
        with st.container(width="stretch"):
            follow(names)
        for name, title in CLOSER.items():
            st.page_link(
                f"views/{name}/page.py",
                label=title,
                query_params=link(run=names[-1], compare=names),
            )
        st.button("Example", key="example", type="tertiary", on_click=lambda: put(pair=None))


def follow(names: Sequence[str]) -> None:
    """The state of a pair, updated while it trains; its end reruns the page."""
    draw = page.guarded(lambda: progress(names))
    if not any(runs().info(name).active for name in names):
        draw()
        return

    def changed() -> str | None:
        return None if any(runs().info(name).active for name in names) else "app"

    live_updates.poll("pair", changed, every=UPDATE_SECONDS, draw=draw)


head()
chosen = pair.shown()
if missing := [name for name in get("pair") if name not in {run.name for run in chosen}]:
    st.warning(f"Not on this server: {escaping.markdown(', '.join(missing))}")
with st.container(key="home-stage"):
    play(chosen)
below(chosen, try_it())
