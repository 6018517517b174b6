"""The settings of a run as one line of text."""

from app.components.text import percent
from engine.charts.theme import METHODS
from engine.config import RunConfig, registry
from engine.data import DATASETS
from engine.errors import NoiseError
from engine.noise.class_dependent import WITHOUT_RATE, transition_matrix


def in_words(config: RunConfig) -> str:
    """The settings in one line: "digits · symmetric noise 40 % (36 % of the labels wrong) · MixNN
    with 5 neighbors · alpha 0.8 ...".
    """
    words = [config.dataset if config.limit is None else f"{config.limit:,} of {config.dataset}"]
    wrong = expected_rate(config)
    share = f" ({percent(wrong, 0)} of the labels wrong)" if wrong else ""
    words.append(noise_in_words(config) + share)
    neighbors = f" with {config.k} neighbors" if config.k != 1 else " with 1 neighbor"
    method = METHODS.get(config.method, config.method)
    words.append(method + (neighbors if config.mixing == "neighbors" else ""))
    if config.correction != "none":
        alpha = f"alpha {config.alpha:g}, " if config.correction == "ema" else ""
        words.append(f"{alpha}correction from epoch {config.correction_start}")
    return " · ".join([*words, f"{config.epochs} epochs", f"seed {config.seed}"])


def noise_in_words(config: RunConfig) -> str:
    """The noise of a run: "symmetric noise 40 %", "human labels (worse)"."""
    if config.noise == "none":
        return "no noise added"
    if config.noise == "human":
        return f"human labels ({config.human_labels})"
    kind = f"margin {config.margin_type}" if config.noise == "margin" else config.noise
    kind = registry.in_words(kind)
    return f"{kind} noise" + ("" if config.noise in WITHOUT_RATE else f" {100 * config.rate:g} %")


def expected_rate(config: RunConfig) -> float | None:
    """The share of labels in [0, 1] that this noise makes wrong, for classes of equal size.

    None where it is not known before the run.
    """
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
