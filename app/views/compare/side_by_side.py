"""The chosen runs side by side; while one trains, the page follows by itself."""

import time

import streamlit as st

from app.components import epoch_slider, live_updates, run_picker
from app.components.page import guarded
from app.server import escaping, run_cache
from app.server.visible_runs import runs
from app.state import selection
from app.state.url_state import get, put
from app.views.compare import cards, comparison, over_seeds, panels
from engine.analysis.run_table import Row
from engine.charts.curves import Curve
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


def show(
    names: list[str], waiting: list[str], rows: list[Row]
) -> tuple[dict[str, comparison.EpochView], dict[str, str]]:
    """The chosen runs at one epoch; waiting: those that have none yet. rows: of all runs.

    Returns the view and the short name of each run shown.
    """
    found = over_seeds.families(names, rows) if get("seeds") else {}
    names = list(found) or names  # one of each setting
    differences(names)
    if len(names) == 2:
        run_picker.player_link(names[1], names[0], "Play these two")
    row, drawn = epoch_slider.scrub(*names, follow=False), time.monotonic()
    training = bool(waiting) or any(runs().info(name).active for name in names)
    follows = training and get("epoch") is None
    if training and not follows:
        follow_button()
    short = dict(zip(names, comparison.short_names(names), strict=True))
    members = [run for seeds in found.values() for run in seeds.values()]

    @st.fragment(key="compare-quick")
    @guarded
    def quick() -> None:
        with live_updates.turn():
            before, n_done = progress(names, waiting), len(done(members))
            _, still_waiting = ready(names + waiting)
            epoch = run_cache.epochs(*names)[selection.row(*names)]
            cards.show(views_at(names, epoch), short, still_waiting)
            if found:
                over_seeds.progress(found, short)
            lines = lines_of(names, found, short)
            panels.curve_panels(lines, training and not found)
            if training or n_done < len(members):
                live_updates.poll("compare", lambda: changed(before, n_done), every=QUICK_UPDATE)

    def changed(before: list, n_done: int) -> str | None:
        mark_watched(members)
        if found:  # the mean changes when a seed ends
            active = any(runs().info(run).active for run in members)
            return "app" if len(done(members)) != n_done or not active else None
        late = time.monotonic() - drawn > SLOW_UPDATE
        if any(map(has_epochs, waiting)) or not mark_watched(names + waiting):
            return "app"
        if follows and late and selection.row(*names) != row:
            return "app"
        return "compare-quick" if progress(names, waiting) != before else None

    quick()
    if found:
        over_seeds.tests(found, rows, short)
    epoch = run_cache.epochs(*names)[selection.row(*names)]
    return views_at(names, epoch), short


def lines_of(names: list[str], found: over_seeds.Families, short: dict[str, str]) -> list[Curve]:
    """The curves of the chosen runs; found: of which several seeds are shown as one."""
    lines = []
    for name in names:
        members = over_seeds.finished(found.get(name, {}))
        several = comparison.seed_curve(members, name, short[name]) if len(members) > 1 else None
        lines.append(several or comparison.curve(name, short[name]))
    return lines


def done(names: list[str]) -> list[str]:
    """The runs that have ended."""
    return [name for name in names if not runs().info(name).active]


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
