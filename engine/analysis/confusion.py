"""Which classes are taken for which: a confusion matrix, and its most confused pairs."""

import numpy as np


def confusion_counts(labels: np.ndarray, taken_for: np.ndarray, n_classes: int) -> np.ndarray:
    """(C, C) int64: how many samples of each class (row) were taken for each class (column).

    labels, taken_for: (N,) class ids. Samples with a negative `taken_for` are not counted.
    """
    known = taken_for >= 0
    key = labels[known].astype(np.int64) * n_classes + taken_for[known]
    return np.bincount(key, minlength=n_classes**2).reshape(n_classes, n_classes)


def confused_pairs(counts: np.ndarray, most: int = 10) -> list[tuple[int, int, int, float]]:
    """The most frequent confusions: class, taken for, samples, share of the class in [0, 1].

    counts: (C, C), see `confusion_counts`. At most `most` pairs, none without a sample; equal ones
    in the order of the classes.
    """
    wrong = counts - np.diag(np.diag(counts))
    sizes = counts.sum(1)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [tuple(map(int, np.unravel_index(place, counts.shape))) for place in order]
    return [(a, b, int(wrong[a, b]), wrong[a, b] / sizes[a]) for a, b in pairs if wrong[a, b]]
