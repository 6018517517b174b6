"""Instance-dependent label noise: from pixels, margins of a network, and human annotators."""

from collections.abc import Callable

import numpy as np

from engine.errors import NoiseError
from engine.noise.class_dependent import (
    NOISE_STREAM,
    Noise,
    observed_matrix,
    validate_rate,
    validated_labels,
)

# Share of a label's chance to stay, as a function of the margin (0 to 1) between two classes.
MARGIN_TYPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "I": lambda d: 1 / 2 + d**2 / 2,
    "II": lambda d: d**3,
    "III": lambda d: (d + d**2 + d**3) / 3,
}
INSTANCE_STD = 0.1  # of the flip rates of instance noise, as published
CHUNK_IMAGES = 1024  # images whose pixels are converted to float64 together


def instance_dependent_noise(
    labels: np.ndarray,
    images: np.ndarray,
    rate: float,
    *,
    mean: np.ndarray,
    std: np.ndarray,
    n_classes: int | None = None,
    seed: int = 0,
) -> Noise:
    """Part-dependent noise, kind "instance" (Xia et al. 2020).

    Image x of class y has a flip rate q ~ N(rate, 0.1) truncated to [0, 1], and a class c other
    than y gets q softmax_c(x W_y) of its chance, where W_y has a column of N(0, 1) for each class.

    labels: (N,) integers. images: (N, channels, H, W) uint8. mean, std: (channels,) of the pixels
    in units of 0..1, by which x is standardized. The matrix is the expected one, the mean over the
    samples of a class; a class without a sample keeps its label. Near 0 and 1 the truncation moves
    the mean of q away from rate: 0 makes 8 % wrong. Raises NoiseError.
    """
    labels, n_classes = validated_labels(labels, n_classes)
    validate_rate(rate)
    if len(images) != len(labels):
        raise NoiseError(f"{len(images)} images but {len(labels)} labels")
    rng = np.random.default_rng((seed, NOISE_STREAM))
    flip, chance = _truncated_normal(rng, rate, len(labels)), rng.random(len(labels))
    scale = 1 / (255 * np.asarray(std, dtype=float))
    shift = np.asarray(mean, dtype=float) / std
    given, matrix = labels.copy(), np.eye(n_classes)
    for c in range(n_classes):  # one class at a time: d x C numbers in memory and not C x d x C
        weights = rng.standard_normal((images[0].size, n_classes))
        rows, total = np.flatnonzero(labels == c), np.zeros(n_classes)
        for part in np.split(rows, range(CHUNK_IMAGES, len(rows), CHUNK_IMAGES)):
            pixels = images[part] * scale[:, None, None] - shift[:, None, None]
            scores = pixels.reshape(len(part), len(weights)) @ weights
            scores[:, c] = -np.inf
            probabilities = flip[part, None] * _softmax(scores)
            probabilities[:, c] = 1 - flip[part]
            given[part] = _draw_each(probabilities, chance[part])
            total += probabilities.sum(0)
        if len(rows):
            matrix[c] = total / total.sum()
    return Noise(given, matrix, rate, float((given != labels).mean()))


def margin_noise(
    labels: np.ndarray, eta: np.ndarray, rate: float, *, margin_type: str = "I", seed: int = 0
) -> Noise:
    """Polynomial-margin-diminishing noise, kind "margin" (Zhang et al. 2021).

    A label stays with probability MARGIN_TYPES[margin_type](d) / factor, at most 1, where d is how
    far the likeliest class is ahead of the second; the factor is such that the expected share of
    wrong labels is rate. Else it becomes the likeliest class that is not its own: so every flip
    makes a wrong label, also where the likeliest class is not the label.

    labels: (N,) integers. eta: (N, C) class probabilities, preferably of networks that were not
    trained on the image. The matrix is the expected one. Raises NoiseError.

    >>> margin_noise([0, 1], [[0.9, 0.1], [0.5, 0.5]], 0.5, margin_type="II").matrix.round(3)
    array([[1., 0.],
           [1., 0.]])
    """
    eta = np.asarray(eta, dtype=float)
    labels, n_classes = validated_labels(labels, eta.shape[1])
    validate_rate(rate)
    if margin_type not in MARGIN_TYPES:
        raise NoiseError(f"margin_type = {margin_type!r}: allowed are {', '.join(MARGIN_TYPES)}")
    if len(eta) != len(labels):
        raise NoiseError(f"probabilities of {len(eta)} images but {len(labels)} labels")
    second, first = np.partition(eta, -2, axis=1)[:, -2:].T
    # never 0, so that there is a factor for every rate
    keep = _scaled_to(1 - rate, np.maximum(MARGIN_TYPES[margin_type](first - second), 1e-9))
    rows, others = np.arange(len(labels)), eta.copy()
    others[rows, labels] = -np.inf
    other = others.argmax(1)
    rng = np.random.default_rng((seed, NOISE_STREAM))
    given = np.where(rng.random(len(labels)) < keep, labels, other)
    matrix = np.zeros((n_classes, n_classes))
    np.add.at(matrix, (labels, labels), keep)
    np.add.at(matrix, (labels, other), 1 - keep)
    return Noise(given, _full(matrix), rate, float((given != labels).mean()))


def human_noise(
    labels: np.ndarray,
    clean: np.ndarray,
    given: np.ndarray,
    *,
    n_classes: int | None = None,
    rows: np.ndarray | None = None,
) -> Noise:
    """Labels from human annotators, kind "human", after a check that they belong to these images.

    labels: (N,) true labels of the images. clean, given: (M,) true and given labels as published.
    rows: (N,) positions of the images among the M; by default all of them in order. The requested
    rate is the actual one, the matrix the observed one. Raises NoiseError where clean and
    labels differ for an image.
    """
    labels, n_classes = validated_labels(labels, n_classes)
    if rows is None and len(clean) != len(labels):
        raise NoiseError(f"{len(clean)} human labels but {len(labels)} images: allowed is the same")
    rows = np.arange(len(labels)) if rows is None else rows
    if rows.max() >= len(clean):
        raise NoiseError(f"{len(clean)} human labels: none for the image in row {rows.max()}")
    wrong = np.flatnonzero(clean[rows] != labels)
    if len(wrong):
        row = int(rows[wrong[0]])
        raise NoiseError(
            f"the human labels are not in the order of the images: the true class of row {row} is "
            f"{clean[row]} there but {labels[wrong[0]]} in the data set ({len(wrong):,} rows "
            "differ); allowed is the order of torchvision's files"
        )
    given, _ = validated_labels(given[rows], n_classes)
    actual = float((given != labels).mean())
    return Noise(given, _full(observed_matrix(labels, given, n_classes)), actual, actual)


def _truncated_normal(rng: np.random.Generator, rate: float, n: int) -> np.ndarray:
    """(n,) samples of N(rate, INSTANCE_STD) truncated to [0, 1], by rejection."""
    values = rng.normal(rate, INSTANCE_STD, n)
    while (outside := (values < 0) | (values > 1)).any():
        values[outside] = rng.normal(rate, INSTANCE_STD, outside.sum())
    return values


def _softmax(scores: np.ndarray) -> np.ndarray:
    """Rows of scores (n, C), -inf allowed -> rows that sum to 1."""
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _draw_each(probabilities: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """A class (n,) sampled from each row of probabilities (n, C), by chance (n,) in [0, 1)."""
    cumulative = probabilities.cumsum(1)
    return (cumulative / cumulative[:, -1:] <= chance[:, None]).sum(1)


def _scaled_to(mean: float, shares: np.ndarray) -> np.ndarray:
    """shares (N,) > 0 divided by one factor and clipped at 1, so that their mean is this one."""
    low, high = -100.0, 100.0  # logarithms of the factor
    for _ in range(100):
        middle = (low + high) / 2
        if np.minimum(shares / np.exp(middle), 1).mean() > mean:
            low = middle
        else:
            high = middle
    return np.minimum(shares / np.exp(high), 1)


def _full(matrix: np.ndarray) -> np.ndarray:
    """Rows (C, C) >= 0 scaled to sum to 1; the row of an absent class is that of the identity."""
    sums = matrix.sum(1, keepdims=True)
    return np.where(sums > 0, matrix / np.where(sums > 0, sums, 1), np.eye(len(matrix)))
