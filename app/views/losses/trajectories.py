"""The losses, or P(clean), of a few samples over all epochs."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from app.components import figures, images
from app.server import escaping, run_cache
from app.state.url_state import bound, get
from engine.analysis import loss_analysis
from engine.analysis.label_outcomes import LabelOutcome, memorized, outcomes
from engine.charts import losses as charts
from engine.charts import theme
from engine.runs.folder import RunFolder

MAX_LINES = 12
N_EPOCHS = 6  # epochs that decide which samples are typical


def trajectories(run: RunFolder, name: str) -> None:
    """A line per sample over the epochs, colored by label outcome, and the samples' images."""
    controls(len(run.labels["given"]))
    records = run_cache.records(name)
    codes, learned = outcomes_at_end(str(run.folder), run.info["created"], len(records))
    if (missing := run.not_logged("prediction")) and run.labels.get("true") is not None:
        st.caption(f"Which wrong labels are memorized is not known: {escaping.lines(missing)}")
    if get("who") == "chosen":
        samples = selected(run)
    else:
        samples = typical(run, codes, learned, len(records))
    if not len(samples):
        st.info("No sample is selected yet: enter a number above, or select some on the Map.")
        return
    of_samples: Sequence[int] = codes[samples].tolist()
    flags = [False] * len(samples) if learned is None else learned[samples].tolist()
    groups = [charts.outcome_name(*pair) for pair in zip(of_samples, flags, strict=True)]
    labels = [in_short(run, name, int(i)) for i in samples]
    chart(run, records, samples, labels, of_samples, flags, groups)
    meanings(of_samples, run.labels.get("true") is not None)
    captions = [f"{label}\n{group}" for label, group in zip(labels, groups, strict=True)]
    colors = [theme.OUTCOMES[LabelOutcome(code)].color for code in of_samples]
    images.linked_wall(name, samples, captions, marks=colors)


def controls(n: int) -> None:
    """Which samples and which quantity are drawn. n: samples of the run."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="course-controls"):
        st.segmented_control(
            "Samples",
            ("typical", "chosen"),
            **bound("who"),
            format_func=lambda who: "selected" if who == "chosen" else who,
            help="Typical: three of each outcome, closest to the median of their group. Selected: "
            "the sample below and those that you selected on the Map.",
        )
        st.segmented_control(
            "Shown",
            ("loss", "clean"),
            **bound("lines"),
            format_func=lambda line: "P(clean)" if line == "clean" else line,
        )
        if get("who") == "chosen":
            st.number_input(
                "Sample",
                0,
                n - 1,
                placeholder="number",
                width=150,
                **bound("sample", within=(0, n - 1)),
            )


def chart(
    run: RunFolder,
    records: list[dict],
    samples: np.ndarray,
    labels: list[str],
    codes: Sequence[int],
    flags: list[bool],
    groups: list[str],
) -> None:
    """The lines of the samples (S,), with S labels, outcomes, flags for memorized, and groups."""
    shown = "loss" if get("lines") == "loss" else "P(clean)"
    array = run.array("loss" if get("lines") == "loss" else "clean")[: len(records)]
    values = np.stack([epoch[samples] for epoch in array])
    epochs = [record["epoch"] for record in records]
    names = [f"#{i} {label}" for i, label in zip(samples, labels, strict=True)]
    fig = charts.trajectories(
        epochs,
        values,
        names,
        codes,
        memorized=flags,
        y=shown,
        probability=get("lines") == "clean",
    )
    table = pd.DataFrame(values, columns=[str(i) for i in samples])
    table.insert(0, "epoch", epochs)
    figures.show(
        fig,
        "loss-course",
        of=run.folder.name,
        over_epochs=True,
        data=table,
        alt=f"{shown} of {len(samples)} samples over {len(records)} epochs: "
        + ", ".join(f"{n} ({g})" for n, g in zip(names, groups, strict=True)),
    )


def selected(run: RunFolder) -> np.ndarray:
    """The selected sample and the first ones of the lasso, at most MAX_LINES."""
    n = len(run.labels["given"])
    first = [] if get("sample") is None else [get("sample")]
    samples = [i for i in dict.fromkeys([*first, *get("lasso")]) if i < n]
    if len(samples) > MAX_LINES:
        st.caption(f"The first {MAX_LINES} of {len(samples):,} selected samples are shown.")
    return np.array(samples[:MAX_LINES], dtype=np.int64)


def typical(
    run: RunFolder, codes: np.ndarray, learned: np.ndarray | None, n_rows: int
) -> np.ndarray:
    """Three typical samples of each label outcome, by their losses in N_EPOCHS epochs."""
    rows = np.unique(np.linspace(0, n_rows - 1, N_EPOCHS).astype(int))
    values = run.array("loss")
    losses = np.stack([np.array(values[row]) for row in rows])
    return loss_analysis.example_samples(losses, codes, learned)


@st.cache_data(max_entries=16, show_spinner=False)
def outcomes_at_end(folder: str, created: str, n_rows: int) -> tuple[np.ndarray, np.ndarray | None]:
    """At the newest epoch: the LabelOutcome (N,) of each label, and which are memorized (N,)."""
    run = RunFolder(folder)
    current = run.array("soft")[n_rows - 1].argmax(1)
    given, true = run.labels["given"], run.labels.get("true")
    if run.not_logged("prediction"):
        return outcomes(given, true, current), None
    prediction = np.array(run.array("prediction")[n_rows - 1])
    run.check_ids("prediction", prediction)
    return outcomes(given, true, current), memorized(given, true, prediction)


def in_short(run: RunFolder, name: str, index: int) -> str:
    """The given class of a sample, and its true one where they differ: "given 8, true 3"."""
    names, labels = run_cache.class_names(name), run.labels
    given = names[labels["given"][index]]
    if "true" not in labels or labels["true"][index] == labels["given"][index]:
        return given
    return f"given {given}, true {names[labels['true'][index]]}"


def meanings(codes: Sequence[int], truth_known: bool) -> None:
    """The definitions of the outcomes that are drawn."""
    kinds = sorted(map(LabelOutcome, set(codes)))
    text = " ".join(f"**{kind.word}**: {kind.meaning(truth_known)}" for kind in kinds)
    learned = " **memorized**: The network predicts the wrong label that was given."
    st.caption("At the newest epoch. " + text + (learned if truth_known else ""))
