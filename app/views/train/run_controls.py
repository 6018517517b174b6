"""The controls of a run that trains, and its progress."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from app.components import page, run_picker, text
from app.server import escaping, run_cache
from app.server.run_info import RunInfo
from app.server.visible_runs import runs
from app.server.visitors import visitor
from engine.config import RunConfig


def controls(info: RunInfo) -> None:
    """Buttons to pause, continue, step and stop an active run, or to resume an ended one."""
    me, name = visitor(), info.name
    allowed = runs().may_control(name, me)
    queued = info.state == "queued"

    def button(
        label: str, icon: str, command: Callable[..., Any], key: str, text: str, off: bool = False
    ) -> None:
        st.button(
            label,
            icon=f":material/{icon}:",
            key=key,
            on_click=page.guarded(command),
            args=(name, me),
            disabled=off or not allowed,
            help=text if allowed else "This run belongs to another visitor",
        )

    if info.active:
        if info.state == "paused":
            button("Continue", "play_arrow", runs().go_on, "go-on", "Continue training")
        else:
            button("Pause", "pause", runs().pause, "pause", "Pause after this batch", queued)
        button("Step", "skip_next", runs().step, "step", "Train one epoch, then pause", queued)
        button(
            "Stop", "stop", runs().stop, "stop", "End after the last full epoch; it can be resumed"
        )
        st.toggle(
            "Keep running",
            info.pinned,
            key=f"pin-{name}",
            disabled=not allowed,
            on_change=lambda: runs().pin(name, me, st.session_state[f"pin-{name}"]),
            help="Pins the run: it is not stopped when no one watches it.",
        )
    elif info.state in ("stopped", "interrupted", "failed"):
        button("Resume", "resume", runs().resume, "resume", "Continue after its last full epoch")


def progress(info: RunInfo) -> None:
    """The progress of an active run, or the message with which it ended."""
    if info.state == "queued":
        st.info(run_picker.waiting_words(info.position), icon=":material/hourglass:")
    elif info.active:
        share = info.batch / info.n_batches if info.n_batches else 0
        st.progress(
            min((info.epoch + share) / max(info.n_epochs, 1), 1.0),
            f"Epoch {info.epoch} of {info.n_epochs - 1} · {info.stage}"
            + text.time_left(info.seconds_left),
        )
    elif info.state == "failed":
        st.error(f"This run failed: {escaping.lines(info.message)}", icon=":material/error:")
    elif info.message:
        st.warning(escaping.lines(info.message))
    elif info.state == "done":  # in the place of the bar, so that nothing moves when the run ends
        st.progress(1.0, f"All {info.n_epochs} epochs are trained.")


def live_settings(info: RunInfo, config: RunConfig, latest: dict[str, Any], cells: list) -> None:
    """Sliders for K and alpha of a run that trains; changes apply from the next epoch on.

    An ended run has their last values instead. latest: settings of the last epoch. cells: two
    containers.
    """
    if not info.active:
        if config.mixing == "neighbors":
            cells[0].metric("K, neighbors", latest["k"], help=page.word("K"))
        if config.correction == "ema":
            cells[1].metric("Alpha", f"{latest['alpha']:g}", help=page.word("alpha"))
        return
    name, me = info.name, visitor()

    def change(setting: str) -> None:
        runs().change(name, me, **{setting: st.session_state[f"live-{setting}-{name}"]})

    off = not runs().may_control(name, me)
    if config.mixing == "neighbors":
        cells[0].slider(
            "K from the next epoch on",
            1,
            run_cache.run(name).info["k_max"],
            latest["k"],
            key=f"live-k-{name}",
            disabled=off,
            help=page.word("K"),
            on_change=page.guarded(change),
            args=("k",),
        )
    if config.correction == "ema":
        cells[1].slider(
            "Alpha from the next epoch on",
            0.0,
            1.0,
            latest["alpha"],
            0.01,
            key=f"live-alpha-{name}",
            disabled=off,
            help=page.word("alpha"),
            on_change=page.guarded(change),
            args=("alpha",),
        )
