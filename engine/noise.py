"""Noise models: labels, model, rate and seed in; transition matrix and given labels out.

Most need labels alone (`corrupt`). Of the others, `corrupt_by_image` looks at pixels,
`corrupt_by_margin` at what a network says, and `labels_of_people` only checks what people said.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# Class -> class it is mistaken for; classes not named keep their label.
ASYMMETRIC: dict[str, dict[int, int]] = {
    # truck -> automobile, bird -> airplane, deer -> horse, cat <-> dog (Patrini et al. 2017)
    "cifar10": {9: 1, 2: 0, 4: 7, 3: 5, 5: 3},
    # 2 -> 7, 3 -> 8, 5 <-> 6, 7 -> 1 (Patrini et al. 2017)
    "mnist": {2: 7, 3: 8, 5: 6, 6: 5, 7: 1},
    # look-alikes: T-shirt <-> shirt, pullover <-> coat, sandal -> sneaker
    "fashion-mnist": {0: 6, 6: 0, 2: 4, 4: 2, 5: 7},
    # what a logistic regression confuses most often (the test of this module repeats it)
    "digits": {1: 9, 3: 8, 5: 9, 7: 9, 8: 1},
}

# Superclass of each fine class of CIFAR-100 (its own coarse_labels, in the order of fine ids).
CIFAR100_SUPERCLASS = (
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7,
    6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10,
    16, 4, 17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16,
    12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13,
)  # fmt: skip

NOISE_NOTES = {
    "none": "labels stay as they came; they may be wrong already",
    "symmetric": "a share r of the samples gets a uniformly drawn class, its own included: "
    "r (1 - 1/C) become wrong",
    "symmetric-exclusive": "a share r of the samples gets another class, uniformly drawn",
    "asymmetric": "with probability r a class becomes the one it is mistaken for",
    "asymmetric-as-published": "CIFAR-100 as published code does it: next class in blocks of five "
    "consecutive ids",
    "pair": "with probability r class c becomes c + 1 (mod C)",
    "matrix": "any row-stochastic C x C matrix of your own",
    "instance": "each image has a flip rate of its own, around r, and goes where a random "
    "projection of its pixels points (Xia et al. 2020)",
    "margin": "images between two classes go to the second one: the smaller a network's margin, "
    "the likelier; r become wrong (Zhang et al. 2021)",
    "human": "labels that people gave: CIFAR-10N and CIFAR-100N (Wei et al. 2022)",
}
BY_SAMPLE = ("instance", "margin", "human")  # labels alone do not say what becomes of them
WITHOUT_RATE = ("none", "matrix", "human")  # rate is not looked at
# Share of a label's chance to stay, as a function of the margin (0 to 1) between two classes.
MARGIN_TYPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "I": lambda d: 1 / 2 + d**2 / 2,
    "II": lambda d: d**3,
    "III": lambda d: (d + d**2 + d**3) / 3,
}

NOISE_STREAM = 2
INSTANCE_STD = 0.1  # of the flip rates of instance noise, as published
CHUNK = 1024  # images whose pixels are float64 at once


class NoiseError(ValueError):
    """A noise model, rate or matrix that is not allowed."""


@dataclass(frozen=True, eq=False)
class Noise:
    """Given labels and how they came about."""

    labels: np.ndarray  # (N,) int64, the given labels
    matrix: np.ndarray  # (C, C) float64, P(given | true), rows sum to 1
    rate_requested: float
    rate_actual: float  # share of given labels that differ from the true ones


def transition_matrix(
    kind: str,
    rate: float,
    n_classes: int,
    *,
    dataset: str | None = None,
    matrix: Sequence[Sequence[float]] | np.ndarray | None = None,
) -> np.ndarray:
    """P(given label | true label) of a noise model.

    kind: one of NOISE_NOTES but BY_SAMPLE. rate: in [0, 1]. n_classes: C, at least 2. dataset: name
    of the data set, which the class maps of `asymmetric` need. matrix: (C, C), for kind "matrix".
    Returns (C, C) float64; rows are true classes and sum to 1. Raises NoiseError.

    >>> transition_matrix("pair", 0.5, 2)
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    if kind not in NOISE_NOTES:
        raise NoiseError(f"noise = {kind!r}: allowed are {', '.join(NOISE_NOTES)}")
    if kind in BY_SAMPLE:
        raise NoiseError(f"noise = {kind!r} needs the images: labels alone do not tell its matrix")
    if n_classes < 2:
        raise NoiseError(f"n_classes = {n_classes}: allowed is 2 or more")
    _check_rate(rate)
    eye = np.eye(n_classes)
    if kind == "none":
        return eye
    if kind == "symmetric":
        return (1 - rate) * eye + rate / n_classes
    if kind == "symmetric-exclusive":
        return (1 - rate) * eye + rate / (n_classes - 1) * (1 - eye)
    if kind == "matrix":
        return _checked_matrix(matrix, n_classes)
    target = np.arange(n_classes)
    flips = _flips(kind, n_classes, dataset)
    target[list(flips)] = list(flips.values())
    return (1 - rate) * eye + rate * eye[target]


def corrupt(
    labels: np.ndarray,
    kind: str = "symmetric",
    rate: float = 0.4,
    *,
    n_classes: int | None = None,
    seed: int = 0,
    dataset: str | None = None,
    matrix: Sequence[Sequence[float]] | np.ndarray | None = None,
) -> Noise:
    """Spoil labels; the result depends on nothing but the arguments.

    labels: (N,) integers in 0..C-1, left as they are. The symmetric kinds draw exactly
    int(rate * N) samples, as is usual in the field; the others flip each label by its row of the
    transition matrix. Arguments and errors otherwise as in `transition_matrix`.
    """
    labels, n_classes = _checked_labels(labels, n_classes)
    matrix = transition_matrix(kind, rate, n_classes, dataset=dataset, matrix=matrix)
    # a stream of its own: shuffling with the same one would sort clean from wrong into batches
    rng = np.random.default_rng((seed, NOISE_STREAM))
    if kind.startswith("symmetric"):
        given = labels.copy()
        drawn = rng.permutation(len(labels))[: int(round(rate * len(labels), 6))]
        if kind == "symmetric":
            given[drawn] = rng.integers(n_classes, size=len(drawn))
        else:
            shift = rng.integers(1, n_classes, size=len(drawn))
            given[drawn] = (labels[drawn] + shift) % n_classes
    else:
        given = _draw_rows(matrix, labels, rng)
    requested = float((matrix.sum(1) - np.diag(matrix)).mean()) if kind == "matrix" else rate
    return Noise(given, matrix, requested, float((given != labels).mean()))


def corrupt_by_image(
    labels: np.ndarray, images: np.ndarray, rate: float, *, mean: np.ndarray, std: np.ndarray,
    n_classes: int | None = None, seed: int = 0,
) -> Noise:  # fmt: skip
    """Part-dependent noise, kind "instance" (Xia et al. 2020, algorithm 2).

    Image x of class y has a flip rate q ~ N(rate, 0.1) truncated to [0, 1], and a class c other
    than y gets q softmax_c(x W_y) of its chance, where W_y has a column of N(0, 1) for each class.

    labels: (N,) integers. images: (N, channels, H, W) uint8. mean, std: (channels,) of the pixels
    in units of 0..1, by which x is standardized. The matrix is the expected one, the mean over the
    samples of a class; a class without a sample keeps its label. Near 0 and 1 the truncation moves
    the mean of q away from rate: 0 makes 8 % wrong. Raises NoiseError.
    """
    labels, n_classes = _checked_labels(labels, n_classes)
    _check_rate(rate)
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
        for part in np.split(rows, range(CHUNK, len(rows), CHUNK)):
            pixels = images[part] * scale[:, None, None] - shift[:, None, None]
            scores = pixels.reshape(len(part), -1) @ weights
            scores[:, c] = -np.inf
            probabilities = flip[part, None] * _softmax(scores)
            probabilities[:, c] = 1 - flip[part]
            given[part] = _draw_each(probabilities, chance[part])
            total += probabilities.sum(0)
        if len(rows):
            matrix[c] = total / total.sum()
    return Noise(given, matrix, rate, float((given != labels).mean()))


def corrupt_by_margin(
    labels: np.ndarray, eta: np.ndarray, rate: float, *, kind: str = "I", seed: int = 0
) -> Noise:
    """Polynomial-margin-diminishing noise, kind "margin" (Zhang et al. 2021, section 4).

    A label stays with probability MARGIN_TYPES[kind](d) / factor, at most 1, where d is how far the
    likeliest class is ahead of the second; the factor is such that the expected share of wrong
    labels is rate. Else it becomes the likeliest class that is not its own, so also where the
    likeliest class is not the label, every flip makes a wrong label.

    labels: (N,) integers. eta: (N, C) probabilities of the classes, best of networks that have not
    seen the image. The matrix is the expected one. Raises NoiseError.

    >>> corrupt_by_margin([0, 1], [[0.9, 0.1], [0.5, 0.5]], 0.5, kind="II").matrix.round(3)
    array([[1., 0.],
           [1., 0.]])
    """
    eta = np.asarray(eta, dtype=float)
    labels, n_classes = _checked_labels(labels, eta.shape[1])
    _check_rate(rate)
    if kind not in MARGIN_TYPES:
        raise NoiseError(f"margin type {kind!r}: allowed are {', '.join(MARGIN_TYPES)}")
    if len(eta) != len(labels):
        raise NoiseError(f"probabilities of {len(eta)} images but {len(labels)} labels")
    second, first = np.partition(eta, -2, axis=1)[:, -2:].T
    # never 0, so that there is a factor for every rate
    keep = _scaled_to(1 - rate, np.maximum(MARGIN_TYPES[kind](first - second), 1e-9))
    rows, others = np.arange(len(labels)), eta.copy()
    others[rows, labels] = -np.inf
    other = others.argmax(1)
    rng = np.random.default_rng((seed, NOISE_STREAM))
    given = np.where(rng.random(len(labels)) < keep, labels, other)
    matrix = np.zeros((n_classes, n_classes))
    np.add.at(matrix, (labels, labels), keep)
    np.add.at(matrix, (labels, other), 1 - keep)
    return Noise(given, _full(matrix), rate, float((given != labels).mean()))


def labels_of_people(
    labels: np.ndarray, clean: np.ndarray, given: np.ndarray, *, n_classes: int | None = None,
    rows: np.ndarray | None = None,
) -> Noise:  # fmt: skip
    """What people gave as labels, kind "human", once it is sure that it belongs to these images.

    labels: (N,) true labels of the images. clean, given: (M,) true and given labels as published.
    rows: (N,) places of the images among the M; by default all of them in order. The requested
    rate is the actual one, the matrix the observed one. Raises NoiseError where clean does not say
    of every image what labels says.
    """
    labels, n_classes = _checked_labels(labels, n_classes)
    if rows is None and len(clean) != len(labels):
        raise NoiseError(f"{len(clean)} human labels but {len(labels)} images: allowed is the same")
    rows = np.arange(len(labels)) if rows is None else rows
    if rows.max() >= len(clean):
        raise NoiseError(f"{len(clean)} human labels: none for the image in row {rows.max()}")
    wrong = np.flatnonzero(clean[rows] != labels)
    if len(wrong):
        row = int(rows[wrong[0]])
        raise NoiseError(
            f"the human labels are not in the order of the images: of row {row} they say that it "
            f"truly is of class {clean[row]}, the images {labels[wrong[0]]} ({len(wrong):,} rows "
            "differ); allowed is the order of torchvision's files"
        )
    given, _ = _checked_labels(given[rows], n_classes)
    actual = float((given != labels).mean())
    return Noise(given, _full(observed_matrix(labels, given, n_classes)), actual, actual)


def observed_matrix(true: np.ndarray, given: np.ndarray, n_classes: int) -> np.ndarray:
    """Share of each given class within each true class.

    true, given: (N,) integers. Returns (C, C) float64; rows sum to 1, rows of absent classes to 0.
    """
    counts = np.bincount(true * n_classes + given, minlength=n_classes**2)
    counts = counts.reshape(n_classes, n_classes).astype(float)
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def _check_rate(rate: float) -> None:
    if not 0 <= rate <= 1:
        raise NoiseError(f"rate = {rate}: allowed is 0 to 1")


def _checked_labels(labels: np.ndarray, n_classes: int | None) -> tuple[np.ndarray, int]:
    """labels as (N,) int64, and C, by default one more than the largest. Raises NoiseError."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or len(labels) == 0 or not np.issubdtype(labels.dtype, np.integer):
        raise NoiseError(
            f"labels of shape {labels.shape} and type {labels.dtype}: "
            "allowed is one integer per sample, at least one sample"
        )
    labels = labels.astype(np.int64)
    n_classes = int(labels.max()) + 1 if n_classes is None else n_classes
    if labels.min() < 0 or labels.max() >= n_classes:
        raise NoiseError(
            f"labels {labels.min()}..{labels.max()}: allowed is 0..{n_classes - 1} "
            f"for {n_classes} classes"
        )
    return labels, n_classes


def _truncated_normal(rng: np.random.Generator, rate: float, n: int) -> np.ndarray:
    """(n,) draws of N(rate, INSTANCE_STD) inside [0, 1]; those outside are drawn again."""
    values = rng.normal(rate, INSTANCE_STD, n)
    while (outside := (values < 0) | (values > 1)).any():
        values[outside] = rng.normal(rate, INSTANCE_STD, outside.sum())
    return values


def _softmax(scores: np.ndarray) -> np.ndarray:
    """Rows of scores (n, C), -inf allowed -> rows that sum to 1."""
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _draw_each(probabilities: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """One class (n,) for each row of probabilities (n, C), by chance (n,) in [0, 1)."""
    cumulative = probabilities.cumsum(1)
    return (cumulative / cumulative[:, -1:] <= chance[:, None]).sum(1)


def _scaled_to(mean: float, shares: np.ndarray) -> np.ndarray:
    """shares (N,) > 0 divided by the factor that, with 1 as the most, gives them this mean."""
    low, high = -100.0, 100.0  # logarithms of the factor
    for _ in range(100):
        middle = (low + high) / 2
        if np.minimum(shares / np.exp(middle), 1).mean() > mean:
            low = middle
        else:
            high = middle
    return np.minimum(shares / np.exp(high), 1)


def _full(matrix: np.ndarray) -> np.ndarray:
    """Rows (C, C) >= 0 that sum to 1; a class that nothing is known of keeps its label."""
    sums = matrix.sum(1, keepdims=True)
    return np.where(sums > 0, matrix / np.where(sums > 0, sums, 1), np.eye(len(matrix)))


def _draw_rows(matrix: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One draw per label from its row, by one search in the stacked cumulative rows."""
    cumulative = matrix.cumsum(1)
    cumulative /= cumulative[:, -1:]
    stacked = (cumulative + np.arange(len(matrix))[:, None]).ravel()
    found = np.searchsorted(stacked, labels + rng.random(len(labels)), side="right")
    # labels + u may round up to the end of the row
    return np.minimum(found - labels * len(matrix), len(matrix) - 1)


def _flips(kind: str, n_classes: int, dataset: str | None) -> Mapping[int, int]:
    if kind == "pair":
        return {c: (c + 1) % n_classes for c in range(n_classes)}
    family = (dataset or "").partition(":")[0]
    if kind == "asymmetric" and n_classes == 10 and family in ASYMMETRIC:
        return ASYMMETRIC[family]
    if family == "cifar100" and n_classes == 100:
        groups = CIFAR100_SUPERCLASS if kind == "asymmetric" else np.arange(100) // 5
        return _next_in_group(np.asarray(groups))
    known = ", ".join([*ASYMMETRIC, "cifar100"]) if kind == "asymmetric" else "cifar100"
    raise NoiseError(
        f"noise = {kind!r} has no class map for {dataset!r} with {n_classes} classes "
        f"(known: {known}); allowed there are pair and matrix"
    )


def _next_in_group(groups: np.ndarray) -> dict[int, int]:
    """Each class -> the next one of its group, the last -> the first."""
    flips = {}
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        flips |= dict(zip(members.tolist(), np.roll(members, -1).tolist(), strict=True))
    return flips


def _checked_matrix(matrix, n_classes: int) -> np.ndarray:
    if matrix is None:
        raise NoiseError("noise = 'matrix' needs a matrix (knob noise_matrix)")
    try:
        matrix = np.asarray(matrix, dtype=float)
    except ValueError as error:
        raise NoiseError(f"noise matrix is no table of numbers: {error}") from None
    if matrix.shape != (n_classes, n_classes):
        raise NoiseError(
            f"noise matrix of shape {matrix.shape}: allowed is {(n_classes, n_classes)}"
        )
    if not np.isfinite(matrix).all() or (matrix < 0).any():
        raise NoiseError("noise matrix has entries below 0 or not finite: allowed is 0 to 1")
    sums = matrix.sum(1)
    if np.abs(sums - 1).max() > 1e-6:
        row = int(np.abs(sums - 1).argmax())
        raise NoiseError(f"noise matrix row {row} sums to {sums[row]:.6g}: allowed is 1")
    return matrix
