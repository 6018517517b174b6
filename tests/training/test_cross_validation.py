"""Out-of-fold probabilities: no sample is predicted by a network trained on it."""

import numpy as np
import pytest
import torch

from engine.training import cross_validation
from engine.training.cross_validation import cross_val_predict_proba, stratified_folds
from tests.conftest import blobs

QUICK = dict(n_folds=2, epochs=6, batch_size=16)


@pytest.mark.parametrize(("n", "n_folds"), [(97, 2), (97, 5), (10, 10)])
def test_folds_hold_every_class_in_its_share(n, n_folds):
    labels = np.random.default_rng(0).integers(4, size=n)
    dealt = stratified_folds(labels, n_folds, seed=3)
    counts = np.array([np.bincount(dealt[labels == c], minlength=n_folds) for c in range(4)])
    assert np.ptp(counts, axis=1).max() <= 1
    assert np.ptp(counts.sum(0)) <= 1
    assert (dealt != stratified_folds(labels, n_folds, seed=4)).any()
    np.testing.assert_array_equal(dealt, stratified_folds(labels, n_folds, seed=3))


def test_networks_say_what_images_show_that_they_have_not_seen():
    data = blobs(120)
    probabilities = cross_val_predict_proba(data, data.labels.numpy(), **QUICK)
    assert probabilities.shape == (120, 3)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert (probabilities.argmax(1) == data.labels.numpy()).mean() > 0.95


def test_a_label_cannot_be_learned_by_heart():
    """Labels that have nothing to do with the images are guessed, however long one trains."""
    data = blobs(90)
    labels = np.random.default_rng(0).integers(3, size=90)
    probabilities = cross_val_predict_proba(data, labels, **QUICK | dict(epochs=15))
    assert (probabilities.argmax(1) == labels).mean() < 0.55


def test_labels_of_a_fold_do_not_reach_its_own_probabilities(monkeypatch):
    data = blobs(60)
    labels = data.labels.numpy()
    dealt = stratified_folds(labels, 2, seed=0)
    monkeypatch.setattr(cross_validation, "stratified_folds", lambda *_: dealt)
    other = np.where(dealt == 0, (labels + 1) % 3, labels)
    first, second = (cross_val_predict_proba(data, given, **QUICK) for given in (labels, other))
    np.testing.assert_array_equal(first[dealt == 0], second[dealt == 0])
    assert np.abs(first[dealt == 1] - second[dealt == 1]).max() > 0.1


def test_the_same_whatever_else_happens_in_the_process():
    data = blobs(48)
    labels = data.labels.numpy()
    torch.manual_seed(0)
    first = cross_val_predict_proba(data, labels, **QUICK)
    torch.manual_seed(1)
    np.random.seed(1)
    np.testing.assert_array_equal(first, cross_val_predict_proba(data, labels, **QUICK))
    assert (first != cross_val_predict_proba(data, labels, **QUICK, seed=1)).any()


def test_progress_is_told_and_may_end_the_work():
    data, seen = blobs(48), []
    cross_val_predict_proba(
        data, data.labels.numpy(), **QUICK, on_progress=lambda *now: seen.append(now)
    )
    assert seen == [(n + 1, 24) for n in range(24)]  # 2 folds x 6 epochs x 2 batches

    def stop(done: int, total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        cross_val_predict_proba(data, data.labels.numpy(), **QUICK, on_progress=stop)


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        (np.zeros(3, int), {}, r"shape \(3,\): allowed is \(48,\)"),
        (np.full(48, 3), {}, "labels 3..3: allowed is 0..2"),
        (np.zeros(48, int), {"n_folds": 1}, "n_folds = 1: allowed is 2 to 48"),
    ],
)
def test_bad_arguments_are_refused(labels, settings, message):
    with pytest.raises(ValueError, match=message):
        cross_val_predict_proba(blobs(48), labels, **settings)
