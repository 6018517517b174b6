"""Noise: which labels did we spoil, and how?"""

import os

import numpy as np
import pandas as pd
import streamlit as st

from app.components import figures, images, live_updates, run_picker
from app.components.glossary import WORDS
from app.components.page import head
from app.components.settings_form import noise_details, noise_kinds, settings
from app.components.text import percent
from app.server import escaping, run_cache
from app.server.run_manager import runs
from app.state.url_state import bound, get, link, put
from app.views.noise import matrix_editor, noisy_labels
from app.views.noise.noisy_labels import Spoiled
from engine.charts import noise as charts
from engine.config import RunConfig, configure
from engine.data import Data, is_here
from engine.errors import ConfigError, DataError, NoiseError
from engine.noise.class_dependent import BY_SAMPLE, NOISE_NOTES
from engine.training.noisy_labels import margins_known

AT_ONCE = 2000  # images whose margins are learned in seconds, without being asked
ON_THE_WALL = 27, 24  # of a run, of settings: full rows on a wide screen
LARGEST_SEED = 2**32 - 1


def of_run() -> tuple[Spoiled, str]:
    """The labels of the chosen run, and its name; stops the page where there are none."""
    name = run_picker.pick_run(with_epochs=False)
    where = runs().info(name)
    if not (runs().folder(name) / "config.json").exists():
        if where.state == "failed":
            st.error(
                f"This run failed before its labels were spoiled: {escaping.lines(where.message)}"
            )
        elif where.active:
            st.info("The labels are spoiled when this run starts; this page then fills itself.")
            await_labels(name)
        else:
            st.info("This run ended before its labels were spoiled. Start it again on Train.")
        st.stop()
    return noisy_labels.of_run(run_cache.run(name)), name


def await_labels(name: str) -> None:
    """Come back by itself when the run has its labels."""

    def changed() -> str | None:
        runs().mark_watched(name)
        there = (runs().folder(name) / "config.json").exists()
        return None if not there and runs().info(name).active else "app"

    live_updates.keep_looking("wait-labels", changed, every=1.0)


def of_settings() -> tuple[Spoiled | None, object]:
    """The labels that the settings would make, None where they do not fit; and the data set."""
    dataset = get("dataset")
    try:
        config = settings()
    except ConfigError as error:
        config = None
        st.error(escaping.lines(error))
    shown = config or configure(dataset=dataset)
    with st.container(horizontal=True, vertical_alignment="bottom", key="noise-controls"):
        st.selectbox(
            "Noise model",
            noise_kinds(),
            width=240,
            help=WORDS["noise model"],
            **bound("noise", shown.noise),
        )
        noise_details(shown, width=240)
        st.number_input(
            "Seed",
            0,
            LARGEST_SEED,
            width=130,
            help=WORDS["seed"],
            **bound("seed", 0, within=(0, LARGEST_SEED)),
        )
        st.page_link(
            "views/train/page.py",
            label="Start these settings on Train",
            query_params=link(),
            icon=":material/play_circle:",
        )
    if config is None:
        st.stop()
    note = NOISE_NOTES[config.noise]
    st.caption(
        f"Data set: {escaping.markdown(short(dataset))}, chosen on Train. "
        f"{note[0].upper()}{note[1:]}."
    )
    if not is_here(dataset):
        st.info(
            f"{escaping.markdown(dataset)} is not on this machine yet: it is downloaded when a run "
            "starts. Start one on Train, or choose another data set there, to see which labels are "
            "spoiled."
        )
        st.stop()
    try:
        data = run_cache.dataset(config)
    except DataError as error:
        st.error(escaping.lines(error))
        st.stop()
    try:
        return preview(config, data), data
    except (NoiseError, ConfigError) as error:
        st.error(f"{escaping.lines(error)}.")
        return None, data


def preview(config: RunConfig, data: Data) -> Spoiled | None:
    """The labels that these settings make; None where networks wait to be asked for first."""
    if config.noise != "margin" or margins_known(data):
        return noisy_labels.of_settings(config, data)
    place = st.empty()
    if data.n > AT_ONCE and not place.button(
        f"Let networks learn {data.n:,} images",
        icon=":material/neurology:",
        help="Margins come from networks; for this many images they take minutes.",
    ):
        st.info(
            "How doubtful an image is, is told by networks that have not seen it. They have to be "
            "trained once for this data set; a run that starts does so itself."
        )
        return None
    words = "Networks learn which images are doubtful"
    bar = place.progress(0.0, words)

    def on_progress(done: int, total: int) -> None:
        if done * 100 // total != (done - 1) * 100 // total:  # a hundred messages, not thousands
            bar.progress(done / total, words)

    labels = noisy_labels.of_settings(config, data, on_progress)
    place.empty()
    return labels


def short(dataset: str) -> str:
    """The name of a data set without the folders it lies in."""
    family, colon, path = dataset.partition(":")
    return family + colon + os.path.basename(path.rstrip("/"))


def summary(labels: Spoiled) -> None:
    n = len(labels.given)
    with st.container(horizontal=True, key="noise-summary"):
        st.metric("Requested", percent(labels.requested), help=WORDS["noise rate"], width=150)
        st.metric(
            "Really wrong",
            percent(labels.actual),
            width=170,
            help="The share of given labels that differ from the true ones.",
        )
        if labels.wrong is not None:
            st.metric("Wrong labels", f"{int(labels.wrong.sum()):,} of {n:,}", width=240)
        else:
            st.metric("Samples", f"{n:,}", width=200)
    st.markdown(labels.why())


def matrices(labels: Spoiled) -> None:
    """Requested and drawn transition matrix side by side; of people's labels what came."""
    asked = "Expected" if labels.kind in BY_SAMPLE else "Requested"
    pictures = [(asked, "transition-requested", labels.matrix)]
    if labels.kind == "human":
        pictures = [("What people said", "transition-drawn", labels.drawn)]
    elif labels.drawn is not None:
        pictures.append(("Drawn", "transition-drawn", labels.drawn))
    highest = max(float(values.max()) for *_, values in pictures)
    numbered = len(labels.names) <= charts.MAX_CLASSES_WITH_NUMBERS
    for place, (title, file, values) in zip(st.columns(2, gap="medium"), pictures, strict=False):
        with place:
            st.markdown(
                f"**{title}**: of each true class, the share given each label"
                + (", in percent" if numbered else "")
            )
            figures.show(
                charts.matrix_heatmap(values, labels.names, highest=highest),
                file,
                data=lambda values=values: long_table(values, labels.names),
                alt=f"{title} transition matrix of {len(values)} classes: on average "
                f"{percent(float(values.diagonal().mean()))} of a class keep their label",
            )
    if far := labels.farthest():
        st.caption(far)


def long_table(values: np.ndarray, names) -> pd.DataFrame:
    """A matrix as rows of true class, given label and share."""
    return pd.DataFrame(
        [(t, g, values[i, j]) for i, t in enumerate(names) for j, g in enumerate(names)],
        columns=["true", "given", "share"],
    )


def class_rates(labels: Spoiled) -> None:
    st.subheader("Class by class", anchor=False)
    requested, actual = 1 - labels.matrix.diagonal(), 1 - labels.drawn.diagonal()
    present = labels.sizes > 0
    actual, requested = np.where(present, actual, 0), np.where(present, requested, 0)
    table = pd.DataFrame(
        {
            "class": list(labels.names),
            "samples": labels.sizes,
            "requested": requested,
            "actual": actual,
        }
    )
    worst = int(actual.argmax())
    figures.show(
        charts.noise_rates(labels.names, requested, actual, labels.sizes),
        "noise-by-class",
        data=table,
        alt=f"Share of wrong labels in each class; the most in {labels.names[worst]} with "
        f"{percent(float(actual[worst]))}",
    )


def wall(labels: Spoiled, name: str | None, data) -> None:
    """Spoiled samples by chance, each with what it was given and what it is."""
    st.subheader("Some of the spoiled samples", anchor=False)
    c = len(labels.names)

    def choose(title: str, param: str) -> None:
        if get(param) is not None and get(param) >= c:
            put(**{param: None})
        st.selectbox(
            title,
            range(c),
            width=200,
            placeholder="any",
            **bound(param),
            format_func=labels.names.__getitem__,
        )

    with st.container(horizontal=True, vertical_alignment="bottom", key="wall-controls"):
        choose("True class", "class")
        choose("Given label", "given_class")
        st.button(
            "Draw others",
            icon=":material/casino:",
            on_click=lambda: put(draw=get("draw") + 1),
            help="Another choice by chance; the link repeats it.",
        )
    wish = dict(true=get("class"), given=get("given_class"))
    rows = labels.pick(**wish, n=ON_THE_WALL[name is None], seed=get("draw"))
    total = len(labels.pick(**wish, n=len(labels.given), seed=0))
    if not total:
        st.info("No wrong label of this kind: choose other classes.")
        return
    st.caption(f"{len(rows)} of {total:,} wrong labels of this kind, drawn at random.")
    captions = [
        f"is {labels.names[labels.true[i]]}\ngiven {labels.names[labels.given[i]]}" for i in rows
    ]
    if name is not None:
        images.linked_wall(name, rows, captions)
    else:
        images.wall(data.take(rows).permute(0, 2, 3, 1).numpy(), captions, size=80)


def page() -> None:
    head(
        "Which labels did we spoil, and how?",
        "Here you see which true class was given which wrong label, asked for and as it really "
        "came. The pattern decides how hard the noise is: mistakes spread over all classes are "
        "outvoted, mistakes that always go the same way look like the truth.",
        "noisy labels",
        "given label",
        "true label",
        "noise model",
        "noise rate",
        "transition matrix",
        "seed",
    )
    st.segmented_control(
        "Labels",
        ("run", "settings"),
        label_visibility="collapsed",
        **bound("noise_of"),
        format_func={"run": "A run", "settings": "The settings of the next run"}.get,
    )
    name, data = None, None
    if get("noise_of") == "run" and runs().names():
        labels, name = of_run()
    else:
        if get("noise_of") == "run":
            st.info("There is no run yet. This is what the settings of the next one would do.")
        labels, data = of_settings()
    if labels is not None:
        summary(labels)
        if labels.true is None:
            unknown(labels)
        else:
            matrices(labels)
            class_rates(labels)
            if labels.wrong.any():
                wall(labels, name, data)
    names = data.classes if labels is None else labels.names
    of = None if name is None else run_cache.run(name).config
    matrix_editor.editor(names, None if labels is None else labels.matrix, of)


def unknown(labels: Spoiled) -> None:
    """What can be said where nobody knows the truth."""
    st.info(
        "The truth of these labels is not known, so there is no transition matrix and no actual "
        "rate to show. **Labels** shows what correction takes for the true classes, **Your data** "
        "lists the labels that look wrong."
    )
    figures.show(
        charts.label_counts(labels.names, labels.sizes),
        "given-labels",
        alt=f"How often each of {len(labels.names)} labels was given",
        data=pd.DataFrame({"label": list(labels.names), "samples": labels.sizes}),
    )


page()
