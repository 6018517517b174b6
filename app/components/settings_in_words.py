"""The settings of a run as one line of text."""

from engine.config import RunConfig, registry
from engine.data import DATASETS
from engine.errors import NoiseError
from engine.noise.class_dependent import WITHOUT_RATE, transition_matrix


def in_words(config: RunConfig) -> str:
    """The settings in one line: "digits · symmetric noise 0.4 (0.36 wrong) · mixnn · K 5 ..."."""
    words = [config.dataset if config.limit is None else f"{config.limit:,} of {config.dataset}"]
    wrong = expected_rate(config)
    words.append(noise_in_words(config) + (f" ({wrong:.2f} wrong)" if wrong else ""))
    words.append(config.method)
    if config.mixing == "neighbors":
        words.append(f"K {config.k}")
    if config.correction != "none":
        alpha = f"alpha {config.alpha:g}, " if config.correction == "ema" else ""
        words.append(f"{alpha}correction from epoch {config.correction_start}")
    return " · ".join([*words, f"{config.epochs} epochs", f"seed {config.seed}"])


def noise_in_words(config: RunConfig) -> str:
    """The noise of a run: "symmetric noise 0.4", "human labels (worse)"."""
    if config.noise == "none":
        return "no noise added"
    if config.noise == "human":
        return f"human labels ({config.human_labels})"
    kind = f"margin {config.margin_type}" if config.noise == "margin" else config.noise
    kind = registry.in_words(kind)
    return f"{kind} noise" + ("" if config.noise in WITHOUT_RATE else f" {config.rate:g}")


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
