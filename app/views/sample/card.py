"""The card of a sample at an epoch: image, labels, what it was mixed with, its history."""

import numpy as np
import pandas as pd
import streamlit as st

from app.components import figures
from app.components.images import wall
from app.server import escaping
from app.state.url_state import put
from app.views.sample import equation
from app.views.sample.sample import Sample
from engine.analysis import sample_history
from engine.analysis.label_outcomes import LabelOutcome
from engine.charts import sample as charts
from engine.charts import theme
from engine.config import corrects
from engine.errors import StoreError

OUTCOMES = {  # color of the box, icon, sentence
    LabelOutcome.CLEAN: (
        "green",
        "check_circle",
        "Clean: the given label **{given}** is right, and it was kept.",
    ),
    LabelOutcome.CORRECTED: (
        "green",
        "auto_fix_high",
        "Corrected: the given label **{given}** was wrong; it is **{corrected}** now, which is "
        "right{since}.",
    ),
    LabelOutcome.MISSED: (
        "orange",
        "error",
        "Missed: the given label **{given}** was not changed, but this is **{true}**.",
    ),
    LabelOutcome.HARMED: (
        "red",
        "warning",
        "Harmed: the given label **{given}** was right, and correction made it **{corrected}**"
        "{since}.",
    ),
    LabelOutcome.KEPT: ("blue", "info", "Kept: the given label **{given}** was not changed."),
    LabelOutcome.CHANGED: (
        "orange",
        "error",
        "Changed: correction turned **{given}** into **{corrected}**{since}, but this is "
        "**{true}**.",
    ),
}
CHANGED_UNKNOWN = (
    "blue",
    "edit",
    "Changed: correction turned **{given}** into **{corrected}**{since}.",
)
BOXES = {"green": st.success, "red": st.error, "orange": st.warning, "blue": st.info}


def show(sample: Sample, *, narrow: bool = False, key: str = "") -> None:
    """A sample at its epoch. narrow: for half the page. key: tells two cards on a page apart."""
    outcome_box(sample)
    if missing := sample.run.not_logged("prediction"):
        st.info(escaping.lines(missing), icon=":material/info:")
    mix, problem = None, ""
    try:
        mix = sample_history.training_mix(sample.run, sample.records, sample.row, sample.index)
    except StoreError as error:
        problem = str(error)
    left, right = (st.container(), st.container()) if narrow else st.columns([1, 2.1], gap="large")
    with left:
        facts(sample, size=150 if narrow else 190)
    with right:
        st.subheader(f"What epoch {sample.epoch} trained on", anchor=False)
        if mix is None:
            st.info(escaping.lines(problem))
        else:
            st.markdown(mixing_words(sample, mix))
            if mix.kind != "nothing":
                size = 64 if narrow else _image_size(len(mix.parts))
                equation.show(sample, mix, sample.pixels(mix.parts), size=size)
            neighbor_links(mix, key)
        label_chart(sample, mix, key)


def over_epochs(sample: Sample, key: str) -> None:
    """The history of a sample, and what it was mixed with. key: as for `show`."""
    history_chart(sample, key)
    frequent_neighbors(sample)


def outcome_box(sample: Sample) -> None:
    """What correction did to the label, in one sentence."""
    moved = np.flatnonzero(sample.history["label_changed"][: sample.row + 1])
    since = f", since epoch {sample.records[moved[-1]]['epoch']}" if len(moved) else ""
    unknown = sample.outcome is LabelOutcome.CHANGED and sample.true is None
    color, icon, sentence = CHANGED_UNKNOWN if unknown else OUTCOMES[sample.outcome]
    labels = {"given": sample.given, "corrected": sample.corrected, "true": sample.true}
    names = {
        kind: "" if c is None else escaping.markdown(sample.classes[c])
        for kind, c in labels.items()
    }
    text = sentence.format(**names, since=since)
    if sample.true is None:
        text += " The true label is not known."
    BOXES[color](text, icon=f":material/{icon}:")


def facts(sample: Sample, *, size: int) -> None:
    """The image, and its labels, P(clean) and loss as a small table."""
    pixels = sample.pixels(np.array([sample.index]))
    table = "".join(f"<dt>{term}</dt><dd>{value}</dd>" for term, value in fact_rows(sample))
    true = "not known" if sample.true is None else sample.classes[sample.true]
    alt = f"{sample.title}: given label {sample.classes[sample.given]}, true label {true}"
    image = (
        '<div class="missing">image not available</div>'
        if pixels is None
        else equation.image_html(pixels[0], alt, size)
    )
    st.html(
        f'<div class="facts">{image}<div><b>{escaping.html(sample.title)}</b>'
        f"<small> after epoch {sample.epoch}</small><dl>{table}</dl></div></div>"
    )


def fact_rows(sample: Sample) -> list[tuple[str, str]]:
    """Terms and their values, as HTML."""
    clean, loss = sample.value("clean"), sample.value("loss")
    smaller = (sample.view.values("loss") < loss).mean()
    predicted = "not recorded"
    if (prediction := int(sample.value("prediction"))) >= 0:
        predicted = equation.label_html(sample, prediction)
        predicted += f" {equation.percent(sample.value('confidence'))}"
    corrected = equation.label_html(sample, sample.corrected)
    true = "not known"
    if sample.true is not None:
        true = equation.label_html(sample, sample.true, mark="")
    return [
        ("Given label", equation.label_html(sample, sample.given)),
        ("True label", true),
        ("Corrected label", f"{corrected} {equation.percent(sample.soft[sample.corrected])}"),
        ("Prediction", predicted),
        ("P(clean)", f"{_meter(clean)} {clean:.3f}"),
        ("Loss", f"{loss:.3f} <small>larger than {100 * smaller:.0f} % of all</small>"),
    ]


def mixing_words(sample: Sample, mix: sample_history.Mix) -> str:
    """Sentences: what the epoch trained on in place of the sample."""
    config, record = sample.run.config, sample.records[sample.row]
    if mix.kind == "nothing" and sample.run.is_recorded:
        return (
            f"The loop `{config.method}` logged no neighbors: if it mixes images, log them with "
            "`recorder.log(epoch, neighbors=..., weights=...)`."
        )
    augmented = config.augment != "none"
    if record["phase"] == "warmup":
        augmented = augmented and config.warmup_augment
        text = "Warm-up: no neighbors yet. The network trained on the image alone with its label."
    elif mix.kind == "nothing":
        text = (
            f"The method `{config.method}` mixes nothing in this epoch: the network trained on the "
            "image alone with its soft label."
        )
    elif mix.kind == "partner" and config.mixing == "neighbors":
        text = (
            f"A random partner: in this method {config.random_share:.0%} of the samples are mixed "
            "with a random sample instead of their neighbors, by a random weight times P(clean)."
        )
    elif mix.kind == "partner":
        text = (
            "Mixup: one random partner, no neighbor; one random weight for the whole batch. Image "
            "and label are the weighted sum."
        )
    else:
        text = (
            "Image and label are the weighted sum of the sample and its neighbors; labels, "
            "P(clean) and therefore the weights are those from the beginning of the epoch."
        )
    if augmented:
        text += " Shown before augmentation: in training each image was shifted at random"
        text += " and mirrored." if config.augment == "crop-flip" else "."
    live = config.changed(**record["settings"])
    if corrects(live, sample.epoch) and config.correction_source == "batch":
        text += (
            " In this run labels move batch by batch, so the mixed label was between the one shown "
            "and the next."
        )
    return text


def neighbor_links(mix: sample_history.Mix, key: str) -> None:
    """Buttons that open the samples it was mixed with."""
    if len(mix.parts) < 2:
        return
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.caption("Open:", width="content")
        for rank, index in enumerate(mix.parts[1:9].tolist(), 1):
            target = {"beside": index} if key else {"sample": index, "mix": None}
            st.button(
                f"{index}",
                key=f"open{key}-{rank}",
                type="tertiary",
                on_click=put,
                kwargs=target,
                help=f"Open sample {index}, part {rank} of this mix",
            )


def label_chart(sample: Sample, mix: sample_history.Mix | None, key: str) -> None:
    """Bars: the soft label after the epoch, and the mixed label that it trained on."""
    shares = {"soft label now": sample.soft}
    if mix is not None:
        title = "label trained on" if mix.kind == "nothing" else "mixed label trained on"
        shares[title] = mix.label
    fig = charts.label_bars(sample.classes, shares, sample.class_notes())
    summary = ", ".join(
        f"{title}: mostly {sample.classes[values.argmax()]} ({values.max():.0%})"
        for title, values in shares.items()
    )
    figures.show(
        fig,
        f"{sample.name}-labels{key}-{sample.index}-epoch-{sample.epoch}",
        alt=f"Bars. {summary}.",
        key=f"bars{key}",
    )


def history_chart(sample: Sample, key: str) -> None:
    """Loss, P(clean), soft label and neighbors over the epochs."""
    epochs = np.array([record["epoch"] for record in sample.records])
    fig = charts.sample_history(epochs, sample.history, sample.classes, true=sample.true_labels)
    n_moved = int(sample.history["label_changed"].sum())
    alt = (
        f"Loss, P(clean), soft label and neighbors of {sample.title} over {len(epochs)} "
        f"epochs; its corrected label changed {n_moved} times."
    )
    figures.show(
        fig,
        f"{sample.name}-history{key}-{sample.index}",
        alt=alt,
        data=lambda: table(sample, epochs),
        over_epochs=True,
        key=f"history{key}",
    )


def table(sample: Sample, epochs: np.ndarray) -> pd.DataFrame:
    """A sample's history, one row per epoch."""
    history = sample.history
    names = np.array(sample.classes)
    columns = {
        "epoch": epochs,
        "loss": history["loss"],
        "p_clean": history["clean"],
        "corrected_label": names[history["soft"].argmax(1)],
        "prediction": np.append(names, "")[history["prediction"]],
        "confidence": history["confidence"],
        "own_weight": history["weights"][:, 0],
    }
    columns |= {f"soft {name}": history["soft"][:, c] for c, name in enumerate(sample.classes)}
    for rank in range(history["neighbors"].shape[1]):
        columns[f"neighbor {rank + 1}"] = history["neighbors"][:, rank]
        columns[f"weight {rank + 1}"] = history["weights"][:, rank + 1]
        columns[f"distance {rank + 1}"] = history["distances"][:, rank]
    return pd.DataFrame(columns)


def frequent_neighbors(sample: Sample, most: int = 8) -> None:
    """The samples with the largest total weight over all epochs, as a strip of images."""
    neighbors, weights = sample.history["neighbors"], sample.history["weights"][:, 1:]
    if not (neighbors >= 0).any():
        st.caption("No epoch so far has mixed this sample with another.")
        return
    unique, inverse = np.unique(neighbors[neighbors >= 0], return_inverse=True)
    total = np.bincount(inverse, weights[neighbors >= 0])
    top = np.argsort(-total, kind="stable")[:most]
    samples, n_epochs = unique[top], np.bincount(inverse)[top]
    pixels = sample.pixels(samples)
    if pixels is None:
        return
    st.markdown("**Mixed in most**, over all epochs")
    given = sample.run.labels["given"]
    captions = [
        f"sample {i}\ngiven {sample.classes[given[i]]}\nin {n} epochs"
        for i, n in zip(samples, n_epochs, strict=True)
    ]
    marks = None
    if sample.true_labels is not None:
        same_class = sample.true_labels[samples] == sample.true
        marks = [theme.CLEAN if same else theme.WRONG for same in same_class]
    wall(pixels, captions, size=72, marks=marks)
    if marks:
        st.caption("Blue frame: the same true class; orange-red: another one.")


def _image_size(n_parts: int) -> int:
    """Side of an image in pixels with which the sum fits into one line, if possible."""
    return min(96, max(60, int(740 / (n_parts + 1.3)) - 24))


def _meter(share: float) -> str:
    return f'<span class="meter"><span style="width:{100 * share:.0f}%"></span></span>'
