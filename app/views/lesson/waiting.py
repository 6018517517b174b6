"""What there is to see meanwhile: some digits with their labels, and runs while they train."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import streamlit as st

from app.components import live_updates, page
from app.components.images import wall
from app.components.text import time_left
from app.server import run_cache
from app.server.run_info import RunInfo
from app.server.visible_runs import runs
from app.views.lesson.steps import RUN_WORDS
from engine.caching import once
from engine.charts import live_curves
from engine.config import RunConfig
from engine.errors import EngineError

N_DIGITS = 18  # of the digits shown
Infos = dict[str, RunInfo | None]  # kind of run -> what is known of it


def digits(config: RunConfig) -> None:
    """Some images of the lesson with the labels that they were given, right or wrong."""
    try:
        images, captions = _digits(config)
    except EngineError:  # the step itself works without them, or says what is wrong
        return
    wall(images, captions, size=52, alts=[f"a digit, {caption}" for caption in captions])


@once(maxsize=8)
def _digits(config: RunConfig) -> tuple[np.ndarray, list[str]]:
    from engine.training.noisy_labels import make_noisy_labels  # late: it imports PyTorch

    data = run_cache.dataset(config)
    given = make_noisy_labels(config, data).given[:N_DIGITS]
    return data.pictures(range(len(given))), [f"label {data.classes[label]}" for label in given]


def progress(read: Callable[[], Infos], *, drawn: bool = True) -> None:
    """The progress of runs and, if drawn, their curves, until all of them have ended."""

    def changed() -> str | None:
        return None if any(info is not None and info.active for info in read().values()) else "app"

    @page.guarded
    def lines() -> None:
        infos = {kind: info for kind, info in read().items() if info is not None}
        networks = "The network trains" if len(infos) == 1 else "The networks train"
        run = "run" if len(infos) == 1 else "runs"
        st.markdown(f"{networks} now. Everybody in this lesson sees the same {run}.")
        for kind, info in infos.items():
            runs().mark_watched(info.name)
            progress_line(RUN_WORDS[kind], info)
        if drawn:
            curves(infos)

    live_updates.poll("lesson-runs", changed, every=1.0, draw=lines)


def progress_line(words: str, info: RunInfo) -> None:
    """A progress bar of one run; words: what it trains."""
    done = info.epoch / max(info.n_epochs, 1)
    if info.state == "queued":
        st.progress(0.0, f"◷ {words}: waiting, number {info.position} in the queue")
    elif info.state == "running":
        left = time_left(info.seconds_left)
        st.progress(done, f"▶ {words}: epoch {info.epoch} of {info.n_epochs}{left}")
    elif info.state == "done":
        st.progress(1.0, f"✓ {words}: ready")
    else:
        st.progress(done, f"{words}: {info.state}")


def curves(infos: dict[str, RunInfo]) -> None:
    """Test accuracy of runs so far, each named next to its newest point."""
    started = {kind: info for kind, info in infos.items() if info.state != "queued" and info.epoch}
    rows: list[live_curves.Row] = [
        (live_curves.LINE, record["epoch"], RUN_WORDS[kind], accuracy, "", "")
        for kind, info in started.items()
        for record in run_cache.records(info.name)
        if (accuracy := record["metrics"].get("test_accuracy")) is not None
    ]
    if not rows:
        return
    last = max(info.n_epochs for info in started.values()) - 1
    spec = live_curves.curves_spec({k: RUN_WORDS[k] for k in started}, (0, max(last, 1)))
    st.markdown("**Test accuracy so far**")
    st.vega_lite_chart(
        pd.DataFrame(rows + live_curves.name_rows(rows), columns=live_curves.COLUMNS),
        spec,
        key="lesson-curves",
        alt="Curves over the epochs: test accuracy of " + ", ".join(RUN_WORDS[k] for k in started),
    )
