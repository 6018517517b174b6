"""Measures against scikit-learn and counting by hand."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from engine import metrics

RNG = np.random.default_rng(0)
TRUE = RNG.integers(4, size=200)
GIVEN = np.where(RNG.random(200) < 0.3, (TRUE + 1) % 4, TRUE)
SAID = np.where(RNG.random(200) < 0.5, GIVEN, RNG.integers(4, size=200))


def test_memorization_counts_wrong_labels_that_are_predicted():
    clean, wrong = metrics.memorization(SAID, GIVEN, TRUE)
    rows = GIVEN != TRUE
    assert wrong == accuracy_score(GIVEN[rows], SAID[rows])
    assert clean == accuracy_score(GIVEN[~rows], SAID[~rows])
    assert metrics.memorization(SAID, TRUE, TRUE)[1] is None


def test_calibration_error_by_hand():
    confidence = np.array([0.95, 0.95, 0.62, 0.61])
    correct = np.array([True, False, True, True])
    # bins of width 0.1: |0.95 - 0.5| for two, |0.615 - 1| for two
    assert metrics.calibration_error(confidence, correct, 10) == pytest.approx(
        (2 * 0.45 + 2 * 0.385) / 4
    )
    # bins are open below and closed above: 0.45 and 0.5 share one (Guo et al. 2017)
    assert metrics.calibration_error(
        np.array([0.45, 0.5]), np.array([False, True]), 10
    ) == pytest.approx(0.025)
    assert metrics.calibration_error(np.ones(3), np.ones(3, bool)) == 0
    assert metrics.calibration_error(np.ones(0), np.ones(0, bool)) is None
    assert metrics.calibration_error(np.zeros(2), np.zeros(2, bool)) == 0


def test_auroc_is_scikit_learns_and_none_without_both_sides():
    score, truth = RNG.random(50), RNG.random(50) < 0.4
    assert metrics.auroc(score, truth) == pytest.approx(roc_auc_score(truth, score))
    assert metrics.auroc(score, np.ones(50, bool)) is None
    assert metrics.auroc(score, np.zeros(50, bool)) is None


def test_normalized_margin_puts_changed_labels_below_kept_ones():
    soft = np.array([[0.9, 0.1], [0.4, 0.6], [1.0, 0.0], [0.9, 0.1]])
    quality = metrics.normalized_margin(soft, np.array([1.0, 1.0, 0.2, 0.0]), np.zeros(4, int))
    np.testing.assert_allclose(quality, [0.9, 0.4, 0.6, 0.5])


def test_everything_of_one_epoch():
    soft = np.eye(4)[np.where(np.arange(200) < 20, TRUE, GIVEN)]
    clean = RNG.random(200)
    measured = metrics.label_metrics(GIVEN, TRUE, SAID, soft, clean)
    fixed = (GIVEN != TRUE)[:20].sum()
    assert measured["changed_labels"] == fixed / 200
    assert measured["label_accuracy"] == pytest.approx((GIVEN == TRUE).mean() + fixed / 200)
    assert measured["train_accuracy"] == accuracy_score(TRUE, SAID)
    assert measured["clean_share"] == pytest.approx(clean.mean())
    unknown = metrics.label_metrics(GIVEN, None, SAID, soft, clean)
    assert set(unknown) == set(measured)
    assert [name for name, value in unknown.items() if value is not None] == [
        "changed_labels",
        "clean_share",
        "lost_classes",
    ]


def test_a_class_is_lost_when_no_sample_is_taken_for_it():
    soft, clean = np.eye(4)[GIVEN], np.ones(200)
    said = np.where(GIVEN == 3, 0, GIVEN)
    assert metrics.label_metrics(GIVEN, None, said, soft, clean)["lost_classes"] == 0.25
    assert metrics.label_metrics(GIVEN, None, GIVEN, soft, clean)["lost_classes"] == 0
    # a class without a given label cannot be lost
    rows = GIVEN != 3
    measured = metrics.label_metrics(GIVEN[rows], None, GIVEN[rows], soft[rows], clean[rows])
    assert measured["lost_classes"] == 0
