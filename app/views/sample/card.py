"""One sample at one epoch, on a card: image, labels, what it was mixed from, its history."""

import numpy as np
import pandas as pd
import streamlit as st

from app.components import figures
from app.components.images import wall
from app.server import escaping
from app.state.url_state import put
from app.views.sample import equation
from app.views.sample.sample import Sample, images
from engine.analysis import sample_history
from engine.analysis.label_outcomes import LabelOutcome, outcomes
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
        "Corrected: the given label **{given}** was wrong; it is **{corrected}** now, and that is "
        "right{since}.",
    ),
    LabelOutcome.MISSED: (
        "orange",
        "error",
        "Missed: the label is **{given}** as it was given, but this is **{true}**.",
    ),
    LabelOutcome.HARMED: (
        "red",
        "warning",
        "Harmed: the given label **{given}** was right, and correction made it **{corrected}**"
        "{since}.",
    ),
    LabelOutcome.KEPT: ("blue", "info", "Kept: the label is **{given}** as it was given."),
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


def draw(of: Sample, *, narrow: bool = False, key: str = "") -> None:
    """The whole card; narrow: for half the page; key: tells two cards apart."""
    say_outcome(of)
    mix, problem = None, ""
    try:
        mix = sample_history.training_mix(of.run, of.records, of.row, of.index)
    except StoreError as error:
        problem = str(error)
    left, right = (st.container(), st.container()) if narrow else st.columns([1, 2.1], gap="large")
    with left:
        facts(of, size=150 if narrow else 190)
    with right:
        st.subheader(f"What epoch {of.epoch} trained on", anchor=False)
        if mix is None:
            st.info(escaping.lines(problem))
        else:
            st.markdown(told(of, mix))
            if mix.kind != "nothing":
                equation.draw(of, mix, size=64 if narrow else _fitting(len(mix.parts)))
            neighbor_links(of, mix, key)
        label_chart(of, mix, key)
    st.subheader("Over the epochs", anchor=False)
    history_chart(of, key)
    often(of)


def say_outcome(of: Sample) -> None:
    """What became of the label, in one sentence."""
    moved = np.flatnonzero(of.history["label_changed"][: of.row + 1])
    since = f", since epoch {of.records[moved[-1]]['epoch']}" if len(moved) else ""
    outcome = LabelOutcome(int(outcomes(of.given, of.true, of.corrected)))
    unknown = outcome is LabelOutcome.CHANGED and of.true is None
    color, icon, sentence = CHANGED_UNKNOWN if unknown else OUTCOMES[outcome]
    words = {"given": of.given, "corrected": of.corrected, "true": of.true}
    named = {
        word: "" if c is None else escaping.markdown(of.classes[c]) for word, c in words.items()
    }
    text = sentence.format(**named, since=since)
    if of.true is None:
        text += " What it really shows is not known."
    BOXES[color](text, icon=f":material/{icon}:")


def facts(of: Sample, *, size: int) -> None:
    """The image and what is known of it, as a small table."""
    image = images(of.view, np.array([of.index]))
    less = (of.view.values("loss") < of.now("loss")).mean()
    said = int(of.now("prediction"))
    rows = [
        ("Given label", equation.label_of(of, of.given)),
        ("True label", "not known" if of.true is None else equation.label_of(of, of.true, mark="")),
        (
            "Corrected label",
            f"{equation.label_of(of, of.corrected)} {equation.percent(of.soft[of.corrected])}",
        ),
        (
            "The network says",
            f"{equation.label_of(of, said)} {equation.percent(of.now('confidence'))}",
        ),
        ("P(clean)", f"{_meter(of.now('clean'))} {of.now('clean'):.3f}"),
        ("Loss", f"{of.now('loss'):.3f} <small>larger than {100 * less:.0f} % of all</small>"),
    ]
    table = "".join(f"<dt>{term}</dt><dd>{value}</dd>" for term, value in rows)
    shows = f"truly {of.classes[of.true]}" if of.true is not None else "truth not known"
    alt = f"{of.called}: given label {of.classes[of.given]}, {shows}"
    picture = (
        '<div class="gone">image not there</div>'
        if image is None
        else equation.picture(image[0], alt, size)
    )
    st.html(
        f'<div class="facts">{picture}<div><b>{escaping.html(of.called)}</b>'
        f"<small> after epoch {of.epoch}</small><dl>{table}</dl></div></div>"
    )


def told(of: Sample, mix: sample_history.Mix) -> str:
    """In words, what the epoch did with the sample."""
    config, record = of.run.config, of.records[of.row]
    moved = config.augment != "none"
    if record["phase"] == "warmup":
        moved = moved and config.warmup_augment
        text = "Warm-up: no neighbors yet. The network learned the image alone with its label."
    elif mix.kind == "nothing":
        text = (
            f"The method `{config.method}` mixes nothing in this epoch: the network learned the "
            "image alone with its soft label."
        )
    elif mix.kind == "partner":
        text = (
            "Mixup: one random partner, no neighbor; one drawn weight for the whole batch. Image "
            "and label are the weighted sum."
        )
    else:
        text = (
            "Image and label are the weighted sum of the sample and its neighbors; labels and "
            "P(clean) are those that the epoch began with, and so the weights."
        )
    if moved:
        text += " Shown before augmentation: in training each image was shifted at random"
        text += " and mirrored." if config.augment == "crop-flip" else "."
    live = config.changed(**record["settings"])
    if corrects(live, of.epoch) and config.correction_source == "batch":
        text += (
            " In this run labels move batch by batch, so the mixed label was on its way from the "
            "one shown to the next."
        )
    return text


def neighbor_links(of: Sample, mix: sample_history.Mix, key: str) -> None:
    """Buttons that open the samples it was mixed with."""
    if len(mix.parts) < 2:
        return
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.caption("Look at:", width="content")
        for rank, index in enumerate(mix.parts[1:9].tolist(), 1):
            target = {"beside": index} if key else {"sample": index, "mix": None}
            st.button(
                f"{index}",
                key=f"open{key}-{rank}",
                type="tertiary",
                on_click=put,
                kwargs=target,
                help=f"Look at sample {index}, part {rank} of this mix",
            )


def label_chart(of: Sample, mix: sample_history.Mix | None, key: str) -> None:
    """Bars: the soft label after the epoch, and the mixed label that it trained on."""
    shares = {"soft label now": of.soft}
    if mix is not None:
        title = "label trained on" if mix.kind == "nothing" else "mixed label trained on"
        shares[title] = mix.label
    fig = charts.label_bars(of.classes, shares, notes(of))
    said = ", ".join(
        f"{title}: mostly {of.classes[values.argmax()]} ({values.max():.0%})"
        for title, values in shares.items()
    )
    figures.show(
        fig,
        f"{of.name}-labels{key}-{of.index}-epoch-{of.epoch}",
        alt=f"Bars. {said}.",
        key=f"bars{key}",
    )


def notes(of: Sample) -> dict[int, str]:
    """What stands below the names of the classes that matter."""
    found = {of.given: "given"}
    if of.true is not None:
        found[of.true] = "given, true" if of.true == of.given else "true"
    return found


def history_chart(of: Sample, key: str) -> None:
    epochs = np.array([record["epoch"] for record in of.records])
    fig = charts.sample_history(epochs, of.history, of.classes, of.epoch, of.all_true)
    n_moved = int(of.history["label_changed"].sum())
    alt = (
        f"Loss, P(clean), soft label and neighbors of {of.called} over {len(epochs)} epochs, epoch "
        f"{of.epoch} marked; its corrected label changed {n_moved} times."
    )
    figures.show(
        fig,
        f"{of.name}-history{key}-{of.index}",
        alt=alt,
        data=lambda: table(of, epochs),
        key=f"history{key}",
    )


def table(of: Sample, epochs: np.ndarray) -> pd.DataFrame:
    """A sample's history, a row an epoch."""
    found = of.history
    names = np.array(of.classes)
    columns = {
        "epoch": epochs,
        "loss": found["loss"],
        "p_clean": found["clean"],
        "corrected_label": names[found["soft"].argmax(1)],
        "prediction": names[found["prediction"]],
        "confidence": found["confidence"],
        "own_weight": found["weights"][:, 0],
    }
    columns |= {f"soft {name}": found["soft"][:, c] for c, name in enumerate(of.classes)}
    for rank in range(found["neighbors"].shape[1]):
        columns[f"neighbor {rank + 1}"] = found["neighbors"][:, rank]
        columns[f"weight {rank + 1}"] = found["weights"][:, rank + 1]
        columns[f"distance {rank + 1}"] = found["distances"][:, rank]
    return pd.DataFrame(columns)


def often(of: Sample, most: int = 8) -> None:
    """The samples that weighed most in it over all epochs, as a strip of images."""
    ids, weights = of.history["neighbors"], of.history["weights"][:, 1:]
    if not (ids >= 0).any():
        st.caption("No epoch so far has mixed this sample with another.")
        return
    found, inverse = np.unique(ids[ids >= 0], return_inverse=True)
    total = np.bincount(inverse, weights[ids >= 0])
    times = np.bincount(inverse)
    chosen = np.argsort(-total, kind="stable")[:most]
    pixels = images(of.view, found[chosen])
    if pixels is None:
        return
    st.markdown("**Mixed in most**, over all epochs")
    given = of.run.labels["given"]
    captions = [
        f"sample {found[i]}\ngiven {of.classes[given[found[i]]]}\nin {times[i]} epochs"
        for i in chosen
    ]
    truth = of.all_true
    marks = truth is not None and [
        theme.CLEAN if truth[found[i]] == of.true else theme.WRONG for i in chosen
    ]
    wall(pixels, captions, size=72, marks=marks or None)
    if marks:
        st.caption("Blue frame: really of the same class; orange-red: of another one.")


def _fitting(n_parts: int) -> int:
    """Side of an image in pixels with which the sum stands in one line, if it can."""
    return min(96, max(60, int(740 / (n_parts + 1.3)) - 24))


def _meter(share: float) -> str:
    return f'<span class="meter"><span style="width:{100 * share:.0f}%"></span></span>'
