"""Confusion of classes against scikit-learn and counting by hand."""

import numpy as np
from sklearn.metrics import confusion_matrix

from engine.analysis.confusion import confused_pairs, confusion_counts


def test_counts_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels, taken_for = rng.integers(7, size=(2, 500))
    counts = confusion_counts(labels, taken_for, 7)
    assert (counts == confusion_matrix(labels, taken_for)).all()


def test_samples_without_a_prediction_do_not_count():
    counts = confusion_counts(np.array([0, 1, 1]), np.array([-1, 1, 0]), 2)
    assert counts.tolist() == [[0, 0], [1, 1]]


def test_pairs_are_those_counted_by_hand():
    rng = np.random.default_rng(1)
    labels, taken_for = rng.integers(4, size=(2, 300))
    found = confused_pairs(confusion_counts(labels, taken_for, 4), most=20)
    by_hand = {
        (a, b): int(((labels == a) & (taken_for == b)).sum())
        for a in range(4)
        for b in range(4)
        if a != b
    }
    assert {(a, b): n for a, b, n, _ in found} == by_hand
    assert [n for *_, n, _ in found] == sorted(by_hand.values(), reverse=True)
    assert all(share == n / (labels == a).sum() for a, _, n, share in found)


def test_no_pair_is_listed_where_nothing_is_confused():
    assert confused_pairs(np.diag([3, 0, 5])) == []
    assert confused_pairs(np.array([[1, 2], [0, 4]]), most=5) == [(0, 1, 2, 2 / 3)]
