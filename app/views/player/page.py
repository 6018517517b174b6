"""Player: what happened in this run?"""

import streamlit as st

from app.components import live_updates, player, publishing, run_picker
from app.components.page import empty, guarded
from app.server import escaping, run_cache
from app.server.run_info import RunInfo
from app.server.visible_runs import runs
from app.state.url_state import bound, get, link, put
from app.views.player import fool
from engine.errors import EngineError

PAGES = {  # the other pages about a run, and what they are for
    "train": ("Train", "play_circle", "Pause, stop and resume it; change K and alpha"),
    "losses": ("Losses", "bar_chart", "Can the loss separate clean from wrong labels?"),
    "map": ("Map", "scatter_plot", "UMAP and PCA of the features"),
    "sample": ("Sample", "image_search", "The image that is picked: its mixture; mix by hand"),
    "labels": ("Labels", "label", "All changed labels, label flips"),
    "noise": ("Noise", "shuffle", "Transition matrix of the labels"),
    "compare": ("Compare", "compare_arrows", "Several runs side by side"),
}


def other_run(name: str) -> str | None:
    """The run that is shown beside it, if it is one that the visitor sees and that fits."""
    other = get("against")
    if other is None or other == name:
        return None
    if other not in runs().names() or not run_picker.has_epochs(other):
        st.warning(f"{escaping.markdown(other)} cannot be shown beside it: it has no epoch here.")
        return None
    if run_picker.has_epochs(name):
        prints = {run_cache.run(one).info["data"]["fingerprint"] for one in (name, other)}
        if len(prints) > 1:
            st.warning(f"{escaping.markdown(other)} has another data set: it is left out.")
            return None
    return str(other)


def top(name: str, info: RunInfo, other: str | None = None) -> bool:
    """Title, run, and what can be done with it; returns whether labels are given by hand.

    other: the run beside it.
    """
    by_hand = False
    with st.container(horizontal=True, vertical_alignment="center", key="player-top"):
        st.header("What happened?", anchor=False, width="content")
        with st.container(width=300):
            st.selectbox("Run", runs().names(), label_visibility="collapsed", **bound("run"))
        run_picker.state_badge(info)
        if other is not None:
            st.button(
                f"beside {escaping.markdown(other)}",
                icon=":material/close:",
                key="alone",
                help="Show the run alone",
                on_click=lambda: put(against=None),
            )
        if run_picker.has_epochs(name):
            by_hand = modes(name)
            publishing.button(*([name] if other is None else [other, name]))
    return by_hand


def modes(name: str) -> bool:
    """The choice between watching and labels by hand, where that is possible."""
    if not fool.is_possible(run_cache.run(name)):
        return False
    options = {False: "Watch", True: "Fool MixNN"}
    st.segmented_control(
        "What to do",
        list(options),
        label_visibility="collapsed",
        **bound("fool", convert=bool),
        format_func=lambda on: options[on],
        help="Give some images wrong labels by hand, and train on exactly these.",
    )
    return bool(get("fool"))


def links() -> None:
    """The other pages about this run, with the same epoch and sample."""
    with st.container(horizontal=True, key="player-links"):
        for page, (label, icon, words) in PAGES.items():
            st.page_link(
                f"views/{page}/page.py",
                label=label,
                icon=f":material/{icon}:",
                help=words,
                query_params=link(),
            )


def watch(name: str, info: RunInfo, other: str | None) -> None:
    """The player of a run, or of two; it follows a run that trains by itself."""
    names = [name] if other is None else [other, name]

    def moved(epoch: int | None, sample: int | None) -> None:
        put(epoch=epoch, sample=sample)

    start = {"epoch": get("epoch"), "sample": get("sample")}
    with st.container(key="stage"):
        player.show(names, key="player-" + "-".join(names), start=start, on_move=moved)
    if info.active:
        before = info.state

        def changed() -> str | None:
            runs().mark_watched(name)
            return None if runs().info(name).state == before else "app"

        live_updates.poll("player-state", changed, every=1.5)


@guarded
def main() -> None:
    name = run_picker.chosen_run()
    if name is None:
        st.header("What happened?", anchor=False)
        empty("There is no run yet. Start one on **Train**; it takes seconds.")
    if get("run") != name:
        put(run=name)
    info = runs().info(name)
    if info.state == "broken":
        top(name, info)
        st.error(f"{escaping.lines(info.message)}. Select another run, or delete this folder.")
        return
    other = other_run(name)
    by_hand = top(name, info, other)
    try:
        fool.show(name) if by_hand else watch(name, info, other)
    except EngineError as error:
        st.error(f"{escaping.lines(error)}.")
    links()


main()
