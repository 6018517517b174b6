"""What a run folder says of its labels in an epoch; what takes long is kept in memory."""

import numpy as np
import streamlit as st

from engine.analysis import loss_analysis
from engine.analysis.label_outcomes import memorized, outcomes
from engine.runs.folder import Run

LOOKS = 6  # epochs in which typical samples are looked for


def truth_of(run: Run, row: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Current labels (N,), which of them are wrong (None: unknown), and the class of each."""
    current = run.array("soft")[row].argmax(1)
    true = run.labels.get("true")
    if true is None:
        return current, None, run.labels["given"]
    return current, current != true, true


def class_of(run: Run) -> np.ndarray:
    """The class by which samples are sorted: the true one where it is known."""
    return run.labels.get("true", run.labels["given"])


@st.cache_data(max_entries=64, show_spinner=False)
def fixed_axes(folder: str, created: str, n_rows: int, kind: str, of_class: int | None):
    """Ranges over all epochs that are there; made anew when there is one more."""
    run = Run(folder)
    array = run.array("scaled_loss" if kind == "scaled" else "loss")[:n_rows]
    members = None if of_class is None else class_of(run) == of_class
    return loss_analysis.histogram_axes(array, members, scaled=kind == "scaled")


@st.cache_data(max_entries=16, show_spinner=False)
def outcomes_at_end(folder: str, created: str, n_rows: int) -> tuple[np.ndarray, np.ndarray | None]:
    """By the newest epoch: the LabelOutcome (N,) of each label, and which are memorized (N,)."""
    run = Run(folder)
    prediction = np.array(run.array("prediction")[n_rows - 1])
    run.check_numbers("prediction", prediction)
    current, _, _ = truth_of(run, n_rows - 1)
    given, true = run.labels["given"], run.labels.get("true")
    return outcomes(given, true, current), memorized(given, true, prediction)


def examples(run: Run, codes: np.ndarray, learned: np.ndarray | None, n_rows: int) -> np.ndarray:
    """Three typical samples of each label outcome, by their losses in a few epochs."""
    rows = np.unique(np.linspace(0, n_rows - 1, LOOKS).astype(int))
    values = run.array("loss")
    looks = [np.array(values[row]) for row in rows]
    return loss_analysis.example_samples(looks, codes, learned)
