"""The controls of the next run: data, noise, method, training. Used by Train and its neighbors."""

from typing import get_args

import streamlit as st

from app import plain
from app.choices import KNOBS, bound, get, put, settings
from app.words import WORDS
from engine.config import METHOD_NOTES, METHODS, PRESET_NAMES, RunConfig, configure
from engine.data import DATASETS, human
from engine.data.registry import data_folder
from engine.errors import ConfigError, DataError, NoiseError
from engine.noise import NOISE_NOTES, WITHOUT_RATE, transition_matrix
from engine.spoil import MARGIN_TYPES

NETWORKS = get_args(RunConfig.model_fields["network"].annotation)
EPOCHS, SEEDS = (0, 1000), (0, 2**32 - 1)
KEPT_WITH_DATA = ("dataset", "noise", "rate", "seed")  # what a change of data set leaves alone


def controls() -> RunConfig | None:
    """Draw the controls; returns the settings they make, None where they do not fit together."""
    base = _shown()
    data, noise, method, more = st.columns(4, gap="medium")
    with data:
        st.selectbox("Data set", _datasets(), format_func=_dataset_words, **_dataset())
        st.number_input("Only so many samples", 20, 1_000_000, help=(
            "Train on a part of the data set that keeps the classes' shares; empty: all of it."
        ), placeholder="all", step=100, **bound("limit", within=(20, 1_000_000)))  # fmt: skip
    with noise:
        st.selectbox(
            "Noise model", noise_kinds(), help=_listed(NOISE_NOTES), **bound("noise", base.noise)
        )
        noise_details(base)
    with method:
        st.selectbox("Method", list(METHODS), help=_listed(METHOD_NOTES), **bound("method"))
        st.slider(
            "K, neighbors", 1, 20, help=WORDS["K"], disabled=base.mixing != "neighbors",
            **bound("k", base.k, within=(1, 20)),
        )  # fmt: skip
    with more:
        st.number_input(
            "Epochs", 0, 1000, help=WORDS["epoch"], **bound("epochs", base.epochs, within=EPOCHS)
        )
        st.slider(
            "Alpha", 0.0, 1.0, step=0.01, help=WORDS["alpha"], disabled=base.correction == "none",
            **bound("alpha", base.alpha, within=(0, 1)),
        )  # fmt: skip
    with st.expander("More settings"):
        row = st.columns(4, gap="medium")
        row[0].number_input(
            "Warm-up epochs",
            0,
            1000,
            help=WORDS["warm-up"],
            **bound("warmup", base.warmup, within=EPOCHS),
        )
        row[1].number_input(
            "Correction starts in epoch", 0, 1000, help=WORDS["correction"],
            disabled=base.correction == "none",
            **bound("correction_start", base.correction_start, within=EPOCHS),
        )  # fmt: skip
        row[2].selectbox(
            "Network", NETWORKS,
            help=WORDS["network"] + " Auto: small up to 28 pixels, resnet9-w16 above.",
            **bound("network", base.network),
        )  # fmt: skip
        row[3].number_input(
            "Seed", 0, 2**32 - 1, help=WORDS["seed"], **bound("seed", 0, within=(0, 2**32 - 1))
        )
        row = st.columns(4, gap="medium")
        row[0].selectbox(
            "Preset", PRESET_NAMES, **bound("preset"),
            help="auto: tuned for the data set; reference: as in the authors' code; cifar10-fast "
            "and cifar10-best: minutes on a GPU, for photographs of 32 x 32; plain: the method as "
            "described in the paper.",
        )  # fmt: skip
        row[1].number_input(
            "Learning rate", 0.0001, 1.0, step=0.01, format="%.4f",
            **bound("learning_rate", base.learning_rate, within=(0.0001, 1)),
        )  # fmt: skip
        row[2].number_input(
            "Batch size", 2, 4096, **bound("batch_size", base.batch_size, within=(2, 4096))
        )
        row[3].button("Back to the tuned settings", on_click=reset, width="stretch")
    return checked()


def noise_kinds() -> list[str]:
    """The noise models that make sense now, and the chosen one."""
    here = {"matrix": get("noise_matrix") is not None, "human": get("dataset") in human.FILES}
    return [kind for kind in NOISE_NOTES if here.get(kind, True) or kind == get("noise")]


def noise_details(base: RunConfig, width: int | str = "stretch") -> None:
    """What a noise model is set by: its rate, its type, or whose labels are meant."""
    if base.noise == "human":
        sets = human.SETS_OF.get(base.dataset, ())
        st.selectbox(
            "Labels of people", [*sets, *{base.human_labels} - set(sets)], width=width,
            help="aggre: what most of three people said; random: one of them; worse: a wrong one "
            "where there was any; noisy: of CIFAR-100N.",
            **bound("human_labels", base.human_labels),
        )  # fmt: skip
        return
    st.slider(
        "Noise rate", 0.0, 1.0, step=0.05, width=width, help=WORDS["noise rate"],
        disabled=base.noise in WITHOUT_RATE, **bound("rate", base.rate, within=(0, 1)),
    )  # fmt: skip
    if base.noise == "margin":
        st.selectbox(
            "Margin type", list(MARGIN_TYPES), width=width,
            help="How the chance to keep a label grows with the margin d between the two likeliest "
            "classes. I: 1/2 + d²/2; II: d³; III: (d + d² + d³)/3.",
            **bound("margin_type", base.margin_type),
        )  # fmt: skip


def checked() -> RunConfig | None:
    """The chosen settings; None, and why, where they do not fit together or labels are missing."""
    try:
        config = settings()
        if config.noise == "human":
            human.load(config.dataset, config.human_labels, data_folder())
    except (ConfigError, DataError) as error:
        st.error(plain.lines(error))
        return None
    for warning in config.warnings:
        st.warning(plain.lines(warning))
    return config


def reset(keep: tuple[str, ...] = KEPT_WITH_DATA) -> None:
    """Let the preset decide again about all knobs but a few."""
    put(**{name: None for name in KNOBS if name not in keep}, preset=None)


def in_words(config: RunConfig) -> str:
    """The settings in one line: "digits, symmetric noise 0.4 (0.36 wrong), mixnn, K 5, ..."."""
    words = [config.dataset if config.limit is None else f"{config.limit:,} of {config.dataset}"]
    wrong = expected_rate(config)
    words.append(noise_in_words(config) + (f" ({wrong:.2f} wrong)" if wrong else ""))
    words.append(config.method)
    if config.mixing == "neighbors":
        words.append(f"K {config.k}")
    if config.correction != "none":
        words.append(f"alpha {config.alpha:g}, correction from epoch {config.correction_start}")
    return " · ".join([*words, f"{config.epochs} epochs", f"seed {config.seed}"])


def noise_in_words(config: RunConfig) -> str:
    """ "symmetric noise 0.4", "labels of people (worse)"."""
    if config.noise == "none":
        return "no noise added"
    if config.noise == "human":
        return f"labels of people ({config.human_labels})"
    kind = f"margin {config.margin_type}" if config.noise == "margin" else config.noise
    return f"{kind} noise" + ("" if config.noise in WITHOUT_RATE else f" {config.rate:g}")


def expected_rate(config: RunConfig) -> float | None:
    """The share of labels that this noise makes wrong, for classes of equal size; None: unknown."""
    if config.noise == "margin":
        return config.rate
    entry = DATASETS.get(config.dataset.partition(":")[0])
    n_classes = len(config.noise_matrix) if config.noise_matrix else entry and entry.n_classes
    if not n_classes:
        return None
    try:
        matrix = transition_matrix(
            config.noise, config.rate, n_classes, dataset=config.dataset, matrix=config.noise_matrix
        )
    except NoiseError:
        return None
    return float(1 - matrix.diagonal().mean())


def _shown() -> RunConfig:
    """What the controls show: the chosen settings, or the preset's where those do not fit."""
    try:
        return settings()
    except ConfigError:
        return configure(method=get("method"), dataset=get("dataset"))


def _dataset() -> dict:
    """Bind the data set; another one brings its own tuned settings."""

    def fits(name: str) -> str:
        reset()
        return name

    return bound("dataset", convert=fits)


def _datasets() -> list[str]:
    """Names without a path, and the chosen one."""
    names = [name for name in DATASETS if name not in ("npz", "folder")]
    return names if get("dataset") in names else [*names, get("dataset")]


def _dataset_words(name: str) -> str:
    entry = DATASETS.get(name)
    if entry is None:
        return name if len(name) < 40 else f"{name.partition(':')[0]}: …{name[-28:]}"
    return name + (" (downloads)" if entry.needs_download else "")


def _listed(notes: dict[str, str]) -> str:
    return "\n".join(f"- **{name}**: {note}" for name, note in notes.items())
