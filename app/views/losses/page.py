"""Losses: can the loss separate clean from wrong labels?"""

from collections.abc import Sequence

import numpy as np
import streamlit as st

from app.components import epoch_slider, run_picker
from app.components.page import head, parts
from app.server import escaping, run_cache
from app.server.visible_runs import runs
from app.state.url_state import bound, get, put
from app.views.losses.histogram import by_class, class_of, histogram
from app.views.losses.threshold import detection, take_threshold
from app.views.losses.trajectories import trajectories
from engine.analysis import loss_analysis
from engine.analysis.label_changes import first_correction_epoch
from engine.method.mixture import MIN_ASHMAN_D
from engine.runs.folder import RunFolder

PEAKS = {  # what loss_analysis.modality says, in words; {}: Ashman's D
    "two": "**two clear peaks** ({}): P(clean) can separate right from wrong labels.",
    "overlapping": "**two peaks that overlap** ({}): P(clean) is uncertain between them.",
    "one": "**one peak** ({}): two components do not fit, so P(clean) is not reliable here.",
}


def controls(names: Sequence[str]) -> None:
    """Which loss and which class are shown. names: of the classes."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="loss-controls"):
        st.segmented_control(
            "Loss",
            ("scaled", "plain"),
            help="Scaled: from 0 to 1, the input of the mixture. Plain: as in training.",
            **bound("loss"),
        )
        st.segmented_control(
            "Height",
            ("cut", "full", "log"),
            help="Cut: zoomed in, with the counts of taller bars above them. Full: all bars in "
            "full height. Log: logarithmic axis.",
            **bound("bars"),
        )
        st.selectbox(
            "Class",
            range(len(names)),
            width=220,
            placeholder="all classes",
            format_func=names.__getitem__,
            **bound("class"),
        )


def wrong_labels(run: RunFolder, row: int) -> np.ndarray | None:
    """(N,) bool: which labels are wrong in this epoch; None if the true ones are not known."""
    true = run.labels.get("true")
    return None if true is None else run.array("soft")[row].argmax(1) != true


def page() -> None:
    head(
        "Can the loss separate clean from wrong labels?",
        "Networks fit right labels first, so wrong ones keep a large loss. MixNN fits a mixture of "
        "two Gaussian components to the losses and derives P(clean) from it. If the components "
        "overlap, P(clean), and everything computed from it, is unreliable.",
        "loss",
        "Gaussian mixture",
        "posterior",
        "P(clean)",
        "threshold",
        "precision",
        "recall",
        "F1",
        "ROC",
        "AUROC",
        "label outcome",
        "memorization",
    )
    name = run_picker.pick_run()
    telling = telling_row(name)
    row = epoch_slider.scrub(name, opens_at=None if runs().info(name).active else telling)
    run, names = run_cache.run(name), run_cache.class_names(name)
    if get("class") is not None and get("class") >= len(names):
        put(**{"class": None})
    controls(names)
    verdict(name, row, telling)
    show(run, name, row, names)


def telling_row(name: str) -> int:
    """The row at which the page of an ended run opens, see `loss_analysis.telling_row`."""
    records, config = run_cache.records(name), run_cache.run(name).config
    return loss_analysis.telling_row(records, first_correction_epoch(config, records[0]))


def verdict(name: str, row: int, telling: int) -> None:
    """Whether the losses of the epoch are bimodal, and which epoch tells more."""
    record, best = run_cache.records(name)[row], run_cache.records(name)[telling]["epoch"]
    mixture = record["mixture"]
    words = PEAKS[loss_analysis.modality(mixture)]
    distance = f"Ashman's D {loss_analysis.ashman_d(mixture):.1f}, bimodal from {MIN_ASHMAN_D:g}"
    text = f"At epoch {record['epoch']} the losses have {words.format(distance)}"
    if row == telling:
        start = first_correction_epoch(run_cache.run(name).config, record)
        if start is not None and best < start:
            text += " This is the last epoch before labels are corrected."
    elif record["metrics"].get("changed_labels"):
        text += f" Labels were corrected before: compare with epoch {best}, where none was yet."
    with st.container(horizontal=True, vertical_alignment="center", key="bimodal"):
        st.markdown(text, width="stretch")
        if row != telling:
            st.button(
                f"Epoch {best}", on_click=put, kwargs=dict(epoch=best), icon=":material/history:"
            )


def show(run: RunFolder, name: str, row: int, names: Sequence[str]) -> None:
    """Everything that the page shows of an epoch. names: of the classes."""
    clean, wrong = np.array(run.array("clean")[row]), wrong_labels(run, row)
    part = np.full(len(clean), True) if get("class") is None else class_of(run) == get("class")
    warning = run_cache.records(name)[row]["mixture"]["warning"]
    if warning and not warning.startswith("the losses are unimodal"):  # see `verdict`
        st.warning(
            f"The mixture of this epoch has a warning: {escaping.lines(warning)}. P(clean) is less "
            "reliable here.",
            icon=":material/warning:",
        )
    if not part.any():
        missing = escaping.markdown(names[get("class")])
        st.info(f"No training sample belongs to {missing}: select another class.")
        st.stop()
    left, right = st.columns([3, 2], gap="medium")
    with left:
        histogram(run, name, row, part, wrong, lambda: take_threshold("chart-losses"))
    with right:
        at = f"{name}-epoch{run_cache.records(name)[row]['epoch']}"
        detection(clean[part], None if wrong is None else wrong[part], at)
    if wrong is not None:
        n_given = int((run.labels["given"] != run.labels["true"]).sum())
        st.caption(
            f"Right and wrong refer to the labels of this epoch: {n_given:,} given labels were "
            f"wrong, {int(wrong.sum()):,} are wrong after the corrections so far."
        )
    if parts({"samples": "Single samples", "classes": "By class"}) == "samples":
        trajectories(run, name)
        return
    if wrong is not None:
        st.markdown(
            "The AUROC is next to each class, the hardest class comes first. The marker is the "
            "median, the thick bar the middle half of the labels."
        )
    by_class(run, row, clean, wrong, names)


page()
