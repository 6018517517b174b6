"""The charts of the lesson's steps, of its runs (kind -> name) and its explanation."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import streamlit as st

from app.components import figures
from app.components.images import wall
from app.server import escaping, run_cache
from app.state.url_state import get, put
from app.views.lesson.findings import before_correction, first_mixing, is_wrong
from app.views.lesson.steps import RUN_WORDS
from engine.analysis import lesson_explanations
from engine.analysis.diagnostics import diagnose
from engine.analysis.label_outcomes import LabelOutcome, outcomes
from engine.analysis.lesson_explanations import Explanation
from engine.charts import lesson as charts
from engine.charts import theme

MAX_IMAGES = 8  # of changed labels
Series = dict[str, tuple[Sequence[float], str]]  # words -> values, color


def show_early_learning(names: dict[str, str], finding: Explanation) -> None:
    """Step 1: test accuracy, and right and wrong labels predicted, over the epochs."""
    records = run_cache.records(names["plain"])
    epochs = [record["epoch"] for record in records]
    series: Series = {
        words: ([record["metrics"][metric] for record in records], color)
        for words, metric, color in (
            ("test accuracy", "test_accuracy", theme.OKABE_ITO[2]),
            ("right labels predicted", "fit_clean", theme.CLEAN),
            ("wrong labels predicted", "memorized", theme.WRONG),
        )
    }
    figures.show(
        charts.share_curves(epochs, series, mark=(epochs[finding.numbers["best"]], "best test")),
        "early-learning",
        alt="Curves over the epochs. " + " ".join(finding.sentences[:3]),
    )


def show_losses(names: dict[str, str], finding: Explanation) -> None:
    """Step 2: losses of right and wrong labels early in training."""
    mixnn = names["mixnn"]
    records, row = run_cache.records(mixnn), before_correction(mixnn)
    scaled = run_cache.values(mixnn, "scaled_loss", row)
    st.markdown(
        f"**After epoch {records[row]['epoch']}**, with the two Gaussian components that MixNN fits"
    )
    figures.show(
        charts.loss_histogram(scaled, is_wrong(mixnn), records[row]["mixture"], height=270),
        "losses-early",
        alt=f"Histogram of losses early. {finding.sentences[0]} {finding.sentences[1]}",
    )


def show_late_losses(names: dict[str, str], finding: Explanation) -> None:
    """Step 2, more: the losses after plain training."""
    plain = names["plain"]
    scaled = run_cache.values(plain, "scaled_loss", len(run_cache.records(plain)) - 1)
    st.markdown("**After plain training to the end**, for comparison")
    figures.show(
        charts.loss_histogram(scaled, is_wrong(plain), height=230),
        "losses-late",
        alt=f"Histogram of losses after plain training. {finding.sentences[2]}",
    )


def show_neighbors(names: dict[str, str], finding: Explanation) -> None:
    """Step 3: a wrongly labeled image, its neighbors, and how many show the same digit."""
    run = names["mixnn"]
    row, neighbors, weights = first_mixing(run)
    sample = example(run)
    st.markdown(
        f"Image {sample} shows a **{shown_name(run, 'true', sample)}**, its label says "
        f"**{shown_name(run, 'given', sample)}**. Its neighbors after epoch {row - 1}:"
    )
    members = [sample, *neighbors[sample].tolist()]
    image_strip(run, members, ["itself"] + [f"neighbor {rank}" for rank in range(1, len(members))])
    next_button(run)
    figures.show(
        charts.same_class_bars(finding.numbers["same"]),
        "neighbors-same",
        alt="Bars: how many neighbors show the same digit. " + finding.sentences[0],
    )


def show_mixing(names: dict[str, str], finding: Explanation) -> None:
    """Step 4: a wrongly labeled image, the weights of its mix, and those of all images."""
    run = names["mixnn"]
    row, neighbors, weights = first_mixing(run)
    sample = example(run)
    members = [sample, *neighbors[sample].tolist()]
    images = run_cache.pixels(run, members)
    mixed = np.einsum("k,khwc->hwc", weights[sample], images.astype(float))
    st.markdown(
        f"Image {sample} shows a **{shown_name(run, 'true', sample)}**, its label says "
        f"**{shown_name(run, 'given', sample)}**. The weights in epoch {row}, and what MixNN "
        "trained on:"
    )
    shares = [f"{100 * weight:.0f} %" for weight in weights[sample]]
    image_strip(run, members, shares, extra=(mixed, "mixed"))
    next_button(run)
    numbers = finding.numbers
    figures.show(
        charts.own_weights(
            numbers["own_wrong"], numbers["own_right"], 1 / (neighbors.shape[1] + 1)
        ),
        "own-weights",
        alt="Bars: " + finding.sentences[0],
    )


def show_mixed_label(names: dict[str, str], finding: Explanation) -> None:
    """Step 4, more: the label of the image before and after mixing."""
    run = names["mixnn"]
    row, neighbors, weights = first_mixing(run)
    soft, sample = run_cache.values(run, "soft", row - 1), example(run)
    label = lesson_explanations.mixed_labels(weights, neighbors, soft)[sample]
    st.markdown(f"The label of image {sample}, before and after mixing:")
    figures.show(
        charts.label_bars(soft[sample], label, run_cache.class_names(run)),
        "mixed-label",
        alt="Bars: the label of this image before and after mixing.",
    )


def show_correction(names: dict[str, str], finding: Explanation) -> None:
    """Step 5: labels right and test accuracy over the epochs."""
    mixnn, plain = names["mixnn"], names["plain"]
    records, others = run_cache.records(mixnn), run_cache.records(plain)
    series: Series = {
        "labels right": ([r["metrics"]["label_accuracy"] for r in records], theme.OKABE_ITO[1]),
        "test accuracy, MixNN": ([r["metrics"]["test_accuracy"] for r in records], theme.CLEAN),
        "test accuracy, plain": ([r["metrics"]["test_accuracy"] for r in others], theme.WRONG),
    }
    start = run_cache.run(mixnn).config.correction_start
    figures.show(
        charts.share_curves(
            [r["epoch"] for r in records], series, mark=(start, "correction starts")
        ),
        "correction",
        alt="Curves over the epochs. " + " ".join(finding.sentences[:3]),
    )


def show_changed_labels(names: dict[str, str], finding: Explanation) -> None:
    """Step 5, more: some labels that correction changed, a few of which are wrong now."""
    run = names["mixnn"]
    given, true = (run_cache.run(run).labels[which] for which in ("given", "true"))
    corrected = run_cache.values(run, "soft", len(run_cache.records(run)) - 1).argmax(1)
    codes = outcomes(given, true, corrected)
    bad = np.flatnonzero(np.isin(codes, (LabelOutcome.HARMED, LabelOutcome.CHANGED)))
    bad = bad[: MAX_IMAGES // 4]
    good = np.flatnonzero(codes == LabelOutcome.CORRECTED)[: MAX_IMAGES - len(bad)]
    shown = np.concatenate([good, bad]).astype(int)
    if not len(shown):
        st.caption("No label was changed in this run.")
        return
    kinds = [LabelOutcome(code) for code in codes[shown]]
    legend = [f"{theme.OUTCOMES[kind].mark} {kind.word}" for kind in sorted(set(kinds))]
    st.markdown(f"Some labels that were changed: {', '.join(legend)}.")
    classes = run_cache.class_names(run)
    wall(
        run_cache.pixels(run, shown),
        [
            f"{classes[given[i]]} → {classes[corrected[i]]} {theme.OUTCOMES[kind].mark}"
            for i, kind in zip(shown, kinds, strict=True)
        ],
        size=62,
        marks=[theme.OUTCOMES[kind].color for kind in kinds],
        alts=[
            f"shows {classes[true[i]]}, label {classes[given[i]]} became {classes[corrected[i]]}"
            for i in shown
        ],
    )


def show_failures(names: dict[str, str], finding: Explanation) -> None:
    """Step 6: test accuracy and right labels of all runs."""
    records: dict[str, Sequence[dict[Any, Any]]] = {
        name: run_cache.records(run) for name, run in names.items()
    }
    last = {name: epochs[-1]["metrics"] for name, epochs in records.items()}
    figures.show(
        charts.result_bars(
            [RUN_WORDS[name] for name in names],
            [last[name]["test_accuracy"] for name in names],
            [last[name]["label_accuracy"] for name in names],
        ),
        "failures",
        alt="Bars of all runs. " + " ".join(finding.sentences[:3]),
    )


def show_diagnoses(names: dict[str, str], finding: Explanation) -> None:
    """Step 6, more: the diagnoses of all runs."""
    st.markdown("**Diagnoses of the runs**")
    lines = []
    for name, run in names.items():
        folder, records = run_cache.run(run), run_cache.records(run)
        found = diagnose(folder.config, records, rate_actual=folder.info["rate_actual"])
        text = "; ".join(f"**{one.name}**. {one.evidence}" for one in found) or "none"
        lines.append(f"- {RUN_WORDS[name]}: {text}")
    st.markdown("\n".join(lines).replace(" %", "\N{NO-BREAK SPACE}%"))


View = Callable[[dict[str, str], Explanation], None]
ANSWER_VIEWS: dict[int, View] = {  # what answers the question, also on a projector
    1: show_early_learning,
    2: show_losses,
    3: show_neighbors,
    4: show_mixing,
    5: show_correction,
    6: show_failures,
}
MORE_VIEWS: dict[int, View] = {  # below it
    2: show_late_losses,
    4: show_mixed_label,
    5: show_changed_labels,
    6: show_diagnoses,
}


def example(run: str) -> int:
    """The wrongly labeled image shown: the selected sample, if its label is wrong."""
    wrong, selected = is_wrong(run), get("sample")
    if selected is not None and selected < len(wrong) and wrong[selected]:
        return selected
    return int(wrong.argmax())


def next_button(run: str) -> None:
    """A button to the next wrongly labeled image."""
    if get("guide"):
        return
    wrong = np.flatnonzero(is_wrong(run))
    following = wrong[(np.searchsorted(wrong, example(run)) + 1) % len(wrong)]
    st.button(
        "Another image",
        icon=":material/refresh:",
        key="lesson-another",
        type="tertiary",
        on_click=lambda: put(sample=int(following)),
    )


def name_of(run: str, which: str, sample: int) -> str:
    """The class of a sample by its "given" or "true" label."""
    return run_cache.class_names(run)[run_cache.run(run).labels[which][sample]]


def shown_name(run: str, which: str, sample: int) -> str:
    """`name_of` as Markdown."""
    return escaping.markdown(name_of(run, which, sample))


def image_strip(
    run: str, members: list[int], captions: list[str], extra: tuple | None = None
) -> None:
    """Images side by side with captions and labels; frames mark right and wrong labels."""
    wrong = is_wrong(run)
    labels = [name_of(run, "given", i) for i in members]
    images = list(run_cache.pixels(run, members))
    lines = [
        f"{text}\nlabel {label} {'✗' if wrong[i] else '✓'}"
        for text, label, i in zip(captions, labels, members, strict=True)
    ]
    marks = [theme.WRONG if wrong[i] else theme.CLEAN for i in members]
    alts = [
        f"shows {name_of(run, 'true', i)}, labeled {label}"
        for i, label in zip(members, labels, strict=True)
    ]
    if extra is not None:
        images.append(extra[0])
        lines.append(extra[1])
        marks.append("")
        alts.append("the weighted average of these images")
    wall(images, lines, size=84, marks=marks, alts=alts)
