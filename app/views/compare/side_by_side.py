"""The chosen runs side by side; while one trains, the page follows by itself."""

import time

import streamlit as st

from app.components import epoch_slider, live_updates, run_picker
from app.components.page import guarded
from app.server import escaping, run_cache
from app.server.visible_runs import runs
from app.state import selection
from app.state.url_state import get, put
from app.views.compare import cards, comparison, panels
from engine.errors import StoreError

QUICK_UPDATE, SLOW_UPDATE = 1.5, 4.0  # seconds: of cards and curves; of losses and maps


def ready(names: list[str]) -> tuple[list[str], list[str]]:
    """Of the chosen runs those with an epoch, and those still waiting for one."""
    with_epochs, waiting = [], []
    for name in names:
        info = runs().info(name)
        if info.state == "broken":
            st.error(f"{escaping.lines(info.message)}. It is left out.")
            continue
        if has_epochs(name):
            with_epochs.append(name)
        elif info.active:
            waiting.append(name)
        else:
            why = f": {escaping.lines(info.message)}" if info.message else ""
            st.warning(f"{escaping.markdown(name)} has no epoch to show; it {info.state}{why}")
    return with_epochs, waiting


def has_epochs(name: str) -> bool:
    """Whether a run has an epoch that can be read."""
    try:
        return bool(run_cache.records(name))
    except StoreError:
        return False


def show(names: list[str], waiting: list[str]) -> None:
    """The chosen runs at one epoch; waiting: those that have none yet."""
    differences(names)
    if len(names) == 2:
        run_picker.player_link(names[1], names[0], "Play these two")
    row, drawn = epoch_slider.scrub(*names, follow=False), time.monotonic()
    training = bool(waiting) or any(runs().info(name).active for name in names)
    follows = training and get("epoch") is None
    if training and not follows:
        follow_button()
    short = dict(zip(names, comparison.short_names(names), strict=True))

    @st.fragment(key="compare-quick")
    @guarded
    def quick() -> None:
        with live_updates.turn():
            before = progress(names, waiting)
            _, still_waiting = ready(names + waiting)
            epoch = run_cache.epochs(*names)[selection.row(*names)]
            cards.show(views_at(names, epoch), short, still_waiting)
            lines = [comparison.curve(name, short[name]) for name in names]
            panels.curve_panels(lines, epoch, training)
            if training:
                live_updates.poll("compare", lambda: changed(before), every=QUICK_UPDATE)

    def changed(before: list) -> str | None:
        late = time.monotonic() - drawn > SLOW_UPDATE
        if any(map(has_epochs, waiting)) or not mark_watched(names + waiting):
            return "app"
        if follows and late and selection.row(*names) != row:
            return "app"
        return "compare-quick" if progress(names, waiting) != before else None

    quick()
    epoch = run_cache.epochs(*names)[selection.row(*names)]
    views = views_at(names, epoch)
    panels.loss_panels(views, short)
    panels.map_panels(views, short)


def differences(names: list[str]) -> None:
    """Which settings differ, and whether all runs train on the same labels."""
    if len(names) < 2:
        st.caption("Choose a second run to see how they differ.")
        return
    phrases = comparison.differences(names)
    try:
        same = comparison.same_labels(names)
    except StoreError as error:
        st.caption(escaping.lines(error))
        return
    noise = (
        "They train on **different** given labels, so part of the difference is due to the noise."
    )
    if same:
        noise = (
            "All train on exactly the same given labels, so all differences below are due to these "
            "settings alone."
        )
    if phrases:
        st.markdown(f"Different settings: {'; '.join(phrases)}. {noise}")
    else:
        st.markdown(f"All settings are the same. {noise}")


def follow_button() -> None:
    """A button that goes to the newest epoch and stays there."""
    st.button(
        "Follow the runs",
        icon=":material/skip_next:",
        on_click=lambda: put(epoch=None),
        help="Always show the newest epoch that all have reached",
    )


def views_at(names: list[str], epoch: int) -> dict[str, comparison.EpochView]:
    """Each run at an epoch."""
    return {name: comparison.view_at(name, epoch) for name in names}


def progress(names: list[str], waiting: list[str]) -> list:
    """Changes whenever a run has a new state, place in the queue or epoch."""
    infos = [runs().info(name) for name in names + waiting]
    states = [(info.state, info.position) for info in infos]
    return [states, [len(run_cache.records(name)) for name in names]]


def wait(names: list[str]) -> None:
    """None of the runs has an epoch yet: say so, and update soon."""

    def changed() -> str | None:
        return "app" if any(map(has_epochs, names)) or not mark_watched(names) else None

    @guarded
    def waiting_cards() -> None:
        cards.show({}, {}, ready(names)[1])

    st.info("The first epochs are under way; this page fills itself in a moment.")
    live_updates.poll("compare-wait", changed, every=1.0, draw=waiting_cards)


def mark_watched(names: list[str]) -> bool:
    """Keep runs from being stopped as unwatched; returns whether any still trains."""
    for name in names:
        runs().mark_watched(name)
    return any(runs().info(name).active for name in names)
