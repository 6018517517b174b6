"""Losses: can the loss tell clean from wrong?"""

import numpy as np
import pandas as pd
import streamlit as st

from app.components import epoch_slider, figures, images, run_picker
from app.components.glossary import WORDS
from app.components.page import head
from app.components.text import percent
from app.server import escaping, run_cache
from app.state.url_state import bound, get, put
from app.views.losses import cache
from engine.analysis import loss_analysis
from engine.analysis.label_outcomes import LabelOutcome
from engine.charts import losses as charts
from engine.charts import theme
from engine.runs.folder import Run

MOST_LINES = 12
PLACES = np.linspace(0, 1, charts.CURVE_POINTS)
TITLES = {"scaled": "scaled loss (0: least, 1: largest of the epoch)", "plain": "loss"}


def controls(names: list[str]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", key="loss-controls"):
        st.segmented_control(
            "Loss",
            ("scaled", "plain"),
            help="Scaled: from 0 to 1, as the mixture sees it. Plain: as training sees it.",
            **bound("loss"),
        )
        st.segmented_control(
            "Height",
            ("cut", "full", "log"),
            help="Cut: zoomed in, taller bars bear their count. "
            "Full: every bar whole. Log: each line ten times the one below.",
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


def histogram(run: Run, name: str, row: int, part: np.ndarray, wrong: np.ndarray | None) -> None:
    """Bars, bells and P(clean) of one epoch; part (N,) bool are the samples looked at."""
    kind, of_class = get("loss"), get("class")
    record = run_cache.records(name)[row]
    scaled = np.array(run.array("scaled_loss")[row])
    values = scaled if kind == "scaled" else np.array(run.array("loss")[row])
    ranges = cache.fixed_axes(
        str(run.folder), run.info["created"], len(run_cache.records(name)), kind, of_class
    )
    groups = {"all": part} if wrong is None else {"right": part & ~wrong, "wrong": part & wrong}
    bars = {
        group: loss_analysis.bin_counts(values[mask], ranges.top) for group, mask in groups.items()
    }
    x, posterior = PLACES, loss_analysis.clean_posterior(record["mixture"], PLACES)
    bells = loss_analysis.component_densities(record["mixture"], PLACES)
    if kind == "plain":  # the same places on the plain loss, where the scale is of this epoch alone
        finite = values[np.isfinite(values)]
        low, wide = finite.min(initial=np.inf), np.ptp(finite) if len(finite) else 0.0
        if run.config.loss_history > 1 or wide <= 0:
            posterior = bells = None
            st.caption(
                "The mixture is fitted to losses averaged over several epochs: see the scaled loss "
                "for its bells."
            )
        else:
            x, bells = low + PLACES * wide, None if bells is None else bells / wide
    if bells is not None:
        bells = bells * part.sum() * ranges.top / loss_analysis.N_BINS
        if of_class is not None:
            st.caption("The bells were fitted to all classes and are drawn to this class's size.")
    threshold = get("threshold")
    accused = [] if posterior is None else loss_analysis.true_intervals(x, posterior < threshold)
    tallest = ranges.cut if get("bars") == "cut" else ranges.full
    fig = charts.loss_histogram(
        bars,
        ranges.top,
        height=get("bars"),
        tallest=tallest,
        title=TITLES[kind],
        x=x,
        components=bells,
        posterior=posterior,
        threshold=threshold,
        flagged=accused,
    )
    n_wrong = "" if wrong is None else f", {int((part & wrong).sum()):,} of them wrong"
    figures.show(
        fig,
        "losses",
        on_select=lambda: take("chart-losses"),
        selection_mode="points",
        alt=f"Histogram of the losses of {int(part.sum()):,} labels{n_wrong}, with the two fitted "
        f"bells, and beneath it P(clean) over the loss with the threshold at {threshold:.2f}",
    )
    if lost := int((~np.isfinite(values[part])).sum()):
        st.caption(f"{lost:,} losses are no finite number and are not drawn; they count as wrong.")


def take(key: str) -> None:
    """Take the threshold from a click on the curve of P(clean), or on the ROC curve."""
    for point in st.session_state[key]["selection"]["points"]:
        if point.get("customdata") is not None:  # bars and bells have none
            value = float(np.ravel(point["customdata"])[0])
            put(threshold=round(min(max(value, 0.0), 1.0), 2))


def judgment(clean: np.ndarray, wrong: np.ndarray | None) -> None:
    """The threshold, and how good its word is."""
    threshold = get("threshold")
    st.slider(
        "Threshold on P(clean)",
        0.0,
        1.0,
        step=0.01,
        **bound("threshold", within=(0, 1)),
        help=WORDS["threshold"] + " Drag it, or click on the curve of P(clean) or on the ROC.",
    )
    if wrong is None:
        n = int((clean < threshold).sum())
        st.markdown(
            f"**{n:,}** of {len(clean):,} labels ({percent(n / len(clean))}) have a P(clean) below "
            f"{threshold:.2f} and are called **suspicious**. The truth of this data set is not "
            "known, so nobody can say how many of them are wrong: look at them on **Your data**."
        )
        return
    found = loss_analysis.detection(clean, wrong, threshold)
    with st.container(horizontal=True, key="verdict"):
        st.metric("Precision", percent(found.precision), help=WORDS["precision"], width=110)
        st.metric("Recall", percent(found.recall), help=WORDS["recall"], width=110)
        st.metric("F1", percent(found.f1), help=WORDS["F1"], width=110)
    st.markdown(in_words(found, threshold))
    curve = loss_analysis.roc_curve(clean, wrong)
    if curve is None:
        st.info(
            "All labels shown here are right, or all are wrong: there is nothing to tell apart."
        )
        return
    curve = curve.thinned(100)
    figures.show(
        charts.roc_curve(curve, found, threshold),
        "roc",
        selection_mode="points",
        on_select=lambda: take("chart-roc"),
        alt=f"ROC curve with AUROC {curve.auroc:.3f}; at threshold {threshold:.2f} "
        f"{percent(found.recall)} of the wrong labels are found and "
        f"{percent(found.false_positive_rate)} of the right ones accused",
    )


def in_words(found: loss_analysis.Detection, threshold: float) -> str:
    """A verdict in one or two sentences with its counts."""
    text = (
        f"**{found.n_flagged:,}** of {found.n:,} labels have a P(clean) below {threshold:.2f} and "
        "are called suspicious. "
    )
    if found.n_flagged:
        text += (
            f"**{found.n_found:,}** of them are really wrong and "
            f"{found.n_flagged - found.n_found:,} are right. "
        )
    missed = found.n_wrong - found.n_found
    return text + (
        f"{missed:,} of the {found.n_wrong:,} wrong labels are missed."
        if found.n_wrong
        else "No label is wrong in this epoch."
    )


def course(run: Run, name: str, row: int) -> None:
    """Losses or P(clean) of a few samples over all epochs."""
    records = run_cache.records(name)
    with st.container(horizontal=True, vertical_alignment="bottom", key="course-controls"):
        st.segmented_control(
            "Samples",
            ("typical", "chosen"),
            **bound("who"),
            help="Typical: three of each outcome, nearest to the middle of their group. Chosen: "
            "the sample below and those that you selected on the Map.",
        )
        st.segmented_control(
            "Shown",
            ("loss", "clean"),
            **bound("lines"),
            format_func={"loss": "loss", "clean": "P(clean)"}.get,
        )
        if get("who") == "chosen":
            st.number_input(
                "Sample",
                0,
                len(run.labels["given"]) - 1,
                placeholder="number",
                width=150,
                **bound("sample", within=(0, len(run.labels["given"]) - 1)),
            )
    codes, learned = cache.outcomes_at_end(str(run.folder), run.info["created"], len(records))
    if get("who") == "chosen":
        samples = chosen(run)
    else:
        samples = cache.examples(run, codes, learned, len(records))
    if not len(samples):
        st.info("No sample is chosen yet: type a number above, or select some on the Map.")
        return
    array = run.array("loss" if get("lines") == "loss" else "clean")[: len(records)]
    values = np.stack([row[samples] for row in array])
    short = [in_short(run, name, int(i)) for i in samples]
    names = [f"#{i} {text}" for i, text in zip(samples, short, strict=True)]
    codes = codes[samples].tolist()
    flags = [False] * len(samples) if learned is None else learned[samples].tolist()
    groups = [charts.outcome_name(*pair) for pair in zip(codes, flags, strict=True)]
    fig = charts.trajectories(
        [record["epoch"] for record in records],
        values,
        names,
        codes,
        memorized=flags,
        now=records[row]["epoch"],
        y="loss" if get("lines") == "loss" else "P(clean)",
        probability=get("lines") == "clean",
    )
    table = pd.DataFrame(values, columns=[str(i) for i in samples])
    table.insert(0, "epoch", [record["epoch"] for record in records])
    figures.show(
        fig,
        "loss-course",
        data=table,
        alt=f"{get('lines')} of {len(samples)} samples over {len(records)} epochs: "
        + ", ".join(f"{n} ({g})" for n, g in zip(names, groups, strict=True)),
    )
    meanings(codes, run.labels.get("true") is not None)
    faces(name, samples, short, groups, [theme.OUTCOMES[code].color for code in codes])


def chosen(run: Run) -> np.ndarray:
    """The chosen sample and the first ones of the lasso."""
    n = len(run.labels["given"])
    first = [] if get("sample") is None else [get("sample")]
    picked = [i for i in dict.fromkeys([*first, *get("lasso")]) if i < n]
    if len(picked) > MOST_LINES:
        st.caption(f"The first {MOST_LINES} of {len(picked):,} chosen samples are drawn.")
    return np.array(picked[:MOST_LINES], dtype=np.int64)


def in_short(run: Run, name: str, index: int) -> str:
    """The given class of a sample, behind its true one where they differ."""
    names, labels = run_cache.class_names(name), run.labels
    given = names[labels["given"][index]]
    if "true" not in labels or labels["true"][index] == labels["given"][index]:
        return given
    return f"{names[labels['true'][index]]} → {given}"


def meanings(codes: list[int], truth_known: bool) -> None:
    """What the words of the outcomes mean, at the newest epoch."""
    found = sorted(map(LabelOutcome, set(codes)))
    text = " ".join(f"**{kind.word}**: {kind.meaning(truth_known)}" for kind in found)
    learned = " **memorized**: the network predicts the wrong label that was given."
    st.caption("At the newest epoch, " + text + (learned if truth_known else ""))


def faces(
    name: str, samples: np.ndarray, names: list[str], groups: list[str], colors: list[str]
) -> None:
    """The images of the lines, to be opened on Sample."""
    captions = [f"{n}\n{g}" for n, g in zip(names, groups, strict=True)]
    images.linked_wall(name, samples, captions, marks=colors)


def by_class(run: Run, row: int, clean: np.ndarray, wrong: np.ndarray | None, names) -> None:
    """The losses of every class side by side."""
    kind = get("loss")
    values = np.array(run.array("scaled_loss" if kind == "scaled" else "loss")[row])
    lines = loss_analysis.losses_by_class(values, clean, cache.class_of(run), wrong)
    if len(lines) > charts.MAX_CLASSES:
        which = "in which P(clean) tells least" if wrong is not None else "first"
        st.caption(f"The {charts.MAX_CLASSES} of {len(lines)} classes {which}; CSV has all.")
    tops = [q[-1] for line in lines for q in line.quantiles.values()]
    top = 1.0 if kind == "scaled" else float(np.nanmax(tops)) * 1.05 or 1.0
    table = pd.DataFrame(
        [
            {
                "class": names[line.class_id],
                "labels": group,
                "n": line.sizes[group],
                "auroc": line.auroc,
            }
            | dict(zip(("q10", "q25", "median", "q75", "q90"), line.quantiles[group], strict=True))
            for line in lines
            for group in line.quantiles
        ]
    )
    fig = charts.losses_by_class(lines, names, top=top, title=TITLES[kind])
    figures.show(
        fig,
        "losses-by-class",
        data=table,
        alt=f"Median and spread of the losses in each of {len(lines)} classes",
    )


def page() -> None:
    head(
        "Can the loss tell clean from wrong?",
        "Networks learn right labels first, so wrong ones keep a large loss: two humps. MixNN fits "
        "two bells to them and reads from these how likely each label is right. If the humps "
        "run together, everything that builds on P(clean) stands on sand.",
        "loss",
        "mixture",
        "posterior",
        "P(clean)",
        "threshold",
        "precision",
        "recall",
        "F1",
        "ROC",
        "AUROC",
    )
    name = run_picker.pick_run()
    row = epoch_slider.scrub(name)
    run, names = run_cache.run(name), run_cache.class_names(name)
    if get("class") is not None and get("class") >= len(names):
        put(**{"class": None})
    clean = np.array(run.array("clean")[row])
    _, wrong, classes = cache.truth_of(run, row)
    part = np.full(len(clean), True) if get("class") is None else classes == get("class")
    controls(names)
    if doubt := run_cache.records(name)[row]["mixture"]["warning"]:
        st.warning(
            f"The mixture itself has doubts in this epoch: {escaping.lines(doubt)}. Trust P(clean) "
            "little here.",
            icon=":material/warning:",
        )
    if not part.any():
        missing = escaping.markdown(names[get("class")])
        st.info(f"No training sample belongs to {missing}: choose another class.")
        st.stop()
    left, right = st.columns([3, 2], gap="medium")
    with left:
        histogram(run, name, row, part, wrong)
    with right:
        judgment(clean[part], None if wrong is None else wrong[part])
    if wrong is not None:
        n_given = int((run.labels["given"] != run.labels["true"]).sum())
        st.caption(
            f"Right and wrong speak of the labels as they are in this epoch: {n_given:,} were "
            f"given wrong, {int(wrong.sum()):,} are wrong after correction so far."
        )
    st.subheader("How the loss of single samples runs", anchor=False)
    course(run, name, row)
    st.subheader("Class by class", anchor=False)
    if wrong is not None:
        st.markdown(
            "Far apart is good: beside each class stands its AUROC, the hardest class first. The "
            "marker is the median, the thick bar holds the middle half of the labels."
        )
    by_class(run, row, clean, wrong, names)


page()
