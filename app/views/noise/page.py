"""Noise: which labels are wrong, and how?"""

import os

import streamlit as st

from app.components import live_updates, run_picker
from app.components.glossary import GLOSSARY
from app.components.page import head, parts
from app.components.settings_form import noise_details, noise_kinds, settings
from app.server import escaping, run_cache
from app.server.visible_runs import runs
from app.state.url_state import bound, get, link
from app.views.noise import matrix_editor, noisy_labels, panels
from app.views.noise.noisy_labels import LabelNoise
from engine.config import RunConfig, configure
from engine.data import Data, is_available
from engine.errors import ConfigError, DataError, NoiseError
from engine.noise.class_dependent import NOISE_NOTES
from engine.training.noisy_labels import margins_known

ALWAYS_UP_TO = 2000  # images; the networks for their margins are trained in seconds
SEEDS = 0, 2**32 - 1


def of_run() -> tuple[LabelNoise, str]:
    """The labels of the selected run, and its name; ends the page while it has none."""
    name = run_picker.pick_run(with_epochs=False)
    info = runs().info(name)
    if not has_labels(name):
        if info.state == "failed":
            st.error(f"This run failed before the noise was drawn: {escaping.lines(info.message)}")
        elif info.active:
            st.info("The noise is drawn when this run starts; this page then updates itself.")
            await_labels(name)
        else:
            st.info("This run ended before the noise was drawn. Start it again on Train.")
        st.stop()
    return noisy_labels.of_run(run_cache.run(name)), name


def has_labels(name: str) -> bool:
    return (runs().folder(name) / "config.json").exists()


def await_labels(name: str) -> None:
    """Rerun the page when the run has its labels."""

    def changed() -> str | None:
        runs().mark_watched(name)
        return None if not has_labels(name) and runs().info(name).active else "app"

    live_updates.poll("wait-labels", changed, every=1.0)


def of_settings() -> tuple[LabelNoise | None, Data]:
    """The labels that the next run would have, and its data set; ends the page without data.

    The labels are None where the noise does not fit the data or its networks are not trained yet.
    """
    config = selected_settings()
    data = data_set(config)
    try:
        return preview(config, data), data
    except (NoiseError, ConfigError) as error:
        st.error(f"{escaping.lines(error)}.")
        return None, data


def selected_settings() -> RunConfig:
    """Draw the controls of the noise; ends the page if the selected settings are invalid."""
    dataset, config = get("dataset"), None
    try:
        config = settings()
    except ConfigError as error:
        st.error(escaping.lines(error))
    shown = config or configure(dataset=dataset)
    with st.container(horizontal=True, vertical_alignment="bottom", key="noise-controls"):
        st.selectbox(
            "Noise model",
            noise_kinds(),
            width=240,
            help=GLOSSARY["noise model"],
            **bound("noise", shown.noise),
        )
        noise_details(shown, width=240)
        st.number_input(
            "Seed",
            *SEEDS,
            width=130,
            help=GLOSSARY["seed"],
            **bound("seed", 0, within=SEEDS),
        )
        st.page_link(
            "views/train/page.py",
            label="Start these settings on Train",
            query_params=link(),
            icon=":material/play_circle:",
        )
    if config is None:
        st.stop()
    note = NOISE_NOTES.get(config.noise, "a noise model of your own")
    st.caption(
        f"Data set: {escaping.markdown(short(dataset))}, selected on Train. "
        f"{note[0].upper()}{note[1:]}."
    )
    return config


def data_set(config: RunConfig) -> Data:
    """The data set of these settings; ends the page if it is missing or cannot be read."""
    if not is_available(config.dataset):
        st.info(
            f"{escaping.markdown(config.dataset)} is not on this machine yet: it is downloaded "
            "when a run starts. Start one on Train to see its noise here, or select another data "
            "set there."
        )
        st.stop()
    try:
        return run_cache.dataset(config)
    except DataError as error:
        st.error(escaping.lines(error))
        st.stop()


def preview(config: RunConfig, data: Data) -> LabelNoise | None:
    """The labels that a run with these settings would have.

    None while margin noise on a large data set waits for a click that trains its networks.
    """
    if config.noise != "margin" or margins_known(data):
        return noisy_labels.of_settings(config, data)
    place = st.empty()
    if data.n > ALWAYS_UP_TO and not place.button(
        f"Train networks on {data.n:,} images",
        icon=":material/neurology:",
        help="Margins are predictions of networks; for this many images training takes minutes.",
    ):
        st.info(
            "Margin noise needs out-of-sample predictions for each image. The networks for them "
            "are trained once per data set; a run trains them when it starts."
        )
        return None
    text = "Training the networks that estimate margins"
    bar = place.progress(0.0, text)

    def on_progress(done: int, total: int) -> None:
        if done * 100 // total != (done - 1) * 100 // total:  # a hundred messages, not thousands
            bar.progress(done / total, text)

    labels = noisy_labels.of_settings(config, data, on_progress)
    place.empty()
    return labels


def short(dataset: str) -> str:
    """The name of a data set, a path in it without its folders."""
    family, colon, path = dataset.partition(":")
    return family + colon + os.path.basename(path.rstrip("/"))


def page() -> None:
    head(
        "Which labels are wrong, and how?",
        "A transition matrix says which true classes get which wrong labels, as requested and as "
        "observed. The pattern decides how hard the noise is: errors spread over all classes are "
        "outvoted by clean labels, errors that always go to the same class look systematic.",
        "noisy labels",
        "given label",
        "true label",
        "noise model",
        "noise rate",
        "transition matrix",
        "seed",
    )
    options = {"run": "A run", "settings": "The settings of the next run"}
    st.segmented_control(
        "Labels",
        list(options),
        label_visibility="collapsed",
        **bound("noise_of"),
        format_func=lambda option: options[option],
    )
    labels: LabelNoise | None
    name, data, config, part = None, None, None, "matrix"
    if get("noise_of") == "run" and runs().names():
        labels, name = of_run()
        names, config = labels.names, run_cache.run(name).config
    else:
        if get("noise_of") == "run":
            st.info("There is no run yet. This is the noise of the next run's settings.")
        labels, data = of_settings()
        names = data.classes
    if labels is not None:
        panels.summary(labels)
        if labels.true is None or labels.observed is None:
            panels.without_truth(labels)
        else:
            panels.matrices(labels, labels.observed)
            options = {"wrong": "Wrong labels"} if labels.actual else {}
            part = parts(options | {"classes": "Rates by class", "matrix": "Your own matrix"})
            if part == "classes":
                panels.class_rates(labels, labels.observed)
            elif part == "wrong":
                panels.wrong_samples(labels, labels.true, name, data)
    if part == "matrix":
        matrix_editor.editor(names, None if labels is None else labels.matrix, config)


page()
