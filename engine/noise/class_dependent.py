"""Class-dependent label noise: given labels sampled from a transition matrix.

In the literature also class-conditional noise: the given label depends on the true class alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engine.errors import NoiseError

# Class -> class that it is confused with; other classes keep their label.
ASYMMETRIC: dict[str, dict[int, int]] = {
    # truck -> automobile, bird -> airplane, deer -> horse, cat <-> dog (Patrini et al. 2017)
    "cifar10": {9: 1, 2: 0, 4: 7, 3: 5, 5: 3},
    # 2 -> 7, 3 -> 8, 5 <-> 6, 7 -> 1 (Patrini et al. 2017)
    "mnist": {2: 7, 3: 8, 5: 6, 6: 5, 7: 1},
    # similar items: T-shirt <-> shirt, pullover <-> coat, sandal -> sneaker
    "fashion-mnist": {0: 6, 6: 0, 2: 4, 4: 2, 5: 7},
    # most frequent confusions of a logistic regression (the test of this module repeats it)
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
    "none": "no noise is added; the labels of the data set may be wrong already",
    "symmetric": "a share r of the samples gets a uniformly random class, its own included: "
    "r (1 - 1/C) become wrong",
    "symmetric-exclusive": "a share r of the samples gets another class, uniformly at random",
    "asymmetric": "with probability r a class becomes the one that it is confused with",
    "asymmetric-as-published": "CIFAR-100 as in published code: next class in blocks of five "
    "consecutive ids",
    "pair": "with probability r class c becomes c + 1 (mod C)",
    "matrix": "any row-stochastic C x C matrix of your own",
    "instance": "each image has its own flip rate around r; a random projection of its pixels "
    "determines the wrong class (Xia et al. 2020)",
    "margin": "images between two classes get the second one: the smaller a network's margin, "
    "the likelier; a share r becomes wrong (Zhang et al. 2021)",
    "human": "labels from human annotators: CIFAR-10N and CIFAR-100N (Wei et al. 2022)",
}
# these depend on the images, see engine.noise.instance_dependent
INSTANCE_DEPENDENT = ("instance", "margin", "human")
WITHOUT_RATE = ("none", "matrix", "human")  # rate has no effect

NOISE_STREAM = 2


@dataclass(frozen=True, eq=False)
class Noise:
    """Given labels, and the noise that produced them."""

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

    kind: one of NOISE_NOTES but INSTANCE_DEPENDENT. rate: in [0, 1]. n_classes: C, at least 2.
    dataset: name of the data set, which the class maps of `asymmetric` need. matrix: (C, C), for
    kind "matrix".
    Returns (C, C) float64; rows are true classes and sum to 1. Raises NoiseError.

    >>> transition_matrix("pair", 0.5, 2)
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    if kind not in NOISE_NOTES:
        raise NoiseError(f"noise = {kind!r}: allowed are {', '.join(NOISE_NOTES)}")
    if kind in INSTANCE_DEPENDENT:
        raise NoiseError(f"noise = {kind!r} has no transition matrix without the images")
    if n_classes < 2:
        raise NoiseError(f"n_classes = {n_classes}: allowed is 2 or more")
    validate_rate(rate)
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


def class_dependent_noise(
    labels: np.ndarray,
    kind: str = "symmetric",
    rate: float = 0.4,
    *,
    n_classes: int | None = None,
    seed: int = 0,
    dataset: str | None = None,
    matrix: Sequence[Sequence[float]] | np.ndarray | None = None,
) -> Noise:
    """Labels with class-dependent noise; the result depends on the arguments alone.

    labels: (N,) integers in 0..C-1; not changed in place. The symmetric kinds select exactly
    int(rate * N) samples, as is usual in the field; the others sample each given label from the
    row of its class in the transition matrix. Other arguments and errors: as in
    `transition_matrix`.
    """
    labels, n_classes = validated_labels(labels, n_classes)
    matrix = transition_matrix(kind, rate, n_classes, dataset=dataset, matrix=matrix)
    # a separate stream: shuffling with the same one would separate clean from wrong in batches
    rng = np.random.default_rng((seed, NOISE_STREAM))
    if kind.startswith("symmetric"):
        given = labels.copy()
        selected = rng.permutation(len(labels))[: int(round(rate * len(labels), 6))]
        if kind == "symmetric":
            given[selected] = rng.integers(n_classes, size=len(selected))
        else:
            shift = rng.integers(1, n_classes, size=len(selected))
            given[selected] = (labels[selected] + shift) % n_classes
    else:
        given = _draw_rows(matrix, labels, rng)
    requested = float((matrix.sum(1) - np.diag(matrix)).mean()) if kind == "matrix" else rate
    return Noise(given, matrix, requested, float((given != labels).mean()))


def observed_matrix(true: np.ndarray, given: np.ndarray, n_classes: int) -> np.ndarray:
    """Share of each given class within each true class.

    true, given: (N,) integers. Returns (C, C) float64; rows sum to 1, rows of absent classes to 0.
    """
    counts = np.bincount(true * n_classes + given, minlength=n_classes**2)
    counts = counts.reshape(n_classes, n_classes).astype(float)
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def validate_rate(rate: float) -> None:
    """Raise NoiseError for a rate outside [0, 1]."""
    if not 0 <= rate <= 1:
        raise NoiseError(f"rate = {rate}: allowed is 0 to 1")


def validated_labels(labels: np.ndarray, n_classes: int | None) -> tuple[np.ndarray, int]:
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


def _draw_rows(matrix: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A sample for each label from its row, by one search in the stacked cumulative rows."""
    cumulative = matrix.cumsum(1)
    cumulative /= cumulative[:, -1:]
    stacked = (cumulative + np.arange(len(matrix))[:, None]).ravel()
    positions = np.searchsorted(stacked, labels + rng.random(len(labels)), side="right")
    # labels + u may round up to the end of the row
    return np.minimum(positions - labels * len(matrix), len(matrix) - 1)


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
        f"(known: {known}); pair and matrix are allowed"
    )


def _next_in_group(groups: np.ndarray) -> dict[int, int]:
    """Each class -> the next one of its group, the last -> the first."""
    flips: dict[int, int] = {}
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        flips |= dict(zip(members.tolist(), np.roll(members, -1).tolist(), strict=True))
    return flips


def _checked_matrix(matrix, n_classes: int) -> np.ndarray:
    if matrix is None:
        raise NoiseError("noise = 'matrix' needs a matrix (setting noise_matrix)")
    try:
        matrix = np.asarray(matrix, dtype=float)
    except ValueError as error:
        raise NoiseError(f"noise matrix is not a table of numbers: {error}") from None
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
