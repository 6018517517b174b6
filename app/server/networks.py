"""The saved networks of runs, for the pages that predict with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.server import run_cache
from engine.errors import StoreError
from engine.runs.folder import RunFolder

if TYPE_CHECKING:
    from engine.runs.predictor import Predictor


def network(name: str, epoch: int) -> Predictor:
    """The network saved after an epoch, or after the nearest epoch that has one.

    Raises StoreError if the run has none.
    """
    run = run_cache.run(name)
    epochs = run.checkpoints()
    if not epochs:
        why = "" if run.is_recorded else " (setting state_interval)"
        raise StoreError(f"{name} keeps no network, so it cannot predict{why}")
    nearest = min(epochs, key=lambda saved: abs(saved - epoch))
    path = run.folder / "states" / f"{nearest}.pt"
    return _network(str(run.folder), nearest, run_cache.stamp_of(path))


@st.cache_resource(max_entries=4, show_spinner="Loading the network")
def _network(folder: str, epoch: int, stamp: tuple[int, ...]) -> Predictor:
    from engine.runs.predictor import load_predictor  # late: torch

    return load_predictor(RunFolder(folder), epoch)
