"""The number of wrong labels by the neighbors' labels, on votes with a known truth."""

import numpy as np
import pytest

from engine.method.noise_estimate import LAMBDA, estimate_noise, true_class_probability


def votes_of(given: np.ndarray, shares: np.ndarray, rng, k: int = 20) -> np.ndarray:
    """Votes (N, C) of k neighbors each, drawn from the probabilities shares (N, C)."""
    return np.stack([rng.multinomial(k, p) for p in shares]) / k


def problem(rate: float, *, n: int = 4000, hard: float = 0.0, seed: int = 0, one_way: bool = False):
    """True and given labels, and votes of neighbors with as much noise, of ten classes.

    hard: the share of images that look like another class. one_way: all wrong labels of a class
    are of the next one.
    """
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 10, n)
    wrong = rng.random(n) < rate
    step = np.ones(n, int) if one_way else rng.integers(1, 10, n)
    given = np.where(wrong, (true + step) % 10, true)
    moved = np.roll(np.eye(10), 1, axis=1) if one_way else (1 - np.eye(10)) / 9
    noise = (1 - rate) * np.eye(10) + rate * moved
    looks = np.eye(10)[true]
    if hard:
        # two classes look alike in both directions
        alike = np.eye(10)[true ^ 1]
        share = rng.beta(1, 3, n)[:, None] * (rng.random(n) < hard)[:, None]
        looks = (1 - share) * looks + share * alike
    return true, given, votes_of(given, looks @ noise, rng)


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.2, 0.4])
def test_wrong_labels_at_random_are_counted(rate):
    true, given, votes = problem(rate)
    found = estimate_noise(votes, given)
    n_wrong = int((given != true).sum())
    low, high = found.interval
    assert low <= n_wrong <= high
    assert found.n_wrong == pytest.approx(n_wrong, rel=0.2, abs=5)
    by_class = np.bincount(given[given != true], minlength=10)
    assert np.abs(found.by_class - by_class).max() < 6 * np.sqrt(by_class.max() / LAMBDA) + 5


def test_images_that_look_like_two_classes_are_not_wrong_labels():
    true, given, votes = problem(0.0, hard=0.8)
    assert (votes.argmax(1) != given).sum() > 200
    assert estimate_noise(votes, given).n_wrong < 40


def test_one_class_that_carries_labels_of_another_is_counted_and_named():
    true, given, votes = problem(0.2, one_way=True)
    found = estimate_noise(votes, given)
    n_wrong = int((given != true).sum())
    assert 0.5 * n_wrong < found.n_wrong < 1.2 * n_wrong
    others = found.transition - np.diag(np.diag(found.transition))
    assert (others.argmax(1) == (np.arange(10) + 1) % 10).all()


def test_a_rare_class_is_not_swallowed():
    """Half of the labels of a class of 3 % are wrong; all labels of the large class are right."""
    rng = np.random.default_rng(0)
    true = (np.arange(4000) < 120).astype(int)
    given = true.copy()
    given[120:240] = 1
    looks = np.where(true[:, None] == 1, [0.0, 1.0], [120 / 3880, 0])
    looks[:, 0] = 1 - np.where(true == 1, 1.0, 120 / 3880)
    looks[:, 1] = 1 - looks[:, 0]
    votes = votes_of(given, looks, rng)
    found = estimate_noise(votes, given)
    assert found.by_class[1] == pytest.approx(120, rel=0.4)
    assert found.by_class[0] < 5


@pytest.mark.parametrize("own", [0.0, 0.2, 0.5])
def test_two_images_of_a_rare_class_are_no_proof_of_wrong_labels(own):
    """Below 1, label issues propose no change. own: share of their neighbors of the same class."""
    given = np.r_[np.zeros(2000, int), np.ones(2, int)]
    votes = np.where(given[:, None] == 1, [1 - own, own], [1, 0]).astype(np.float32)
    assert estimate_noise(votes, given).interval[0] < 1


def test_the_probability_of_the_true_class_is_calibrated():
    true, given, votes = problem(0.4)
    posterior = true_class_probability(
        votes, np.full((4000, 10), 0.1), given, estimate_noise(votes, given)
    )
    np.testing.assert_allclose(posterior.sum(1), 1, atol=1e-6)
    best, sure = posterior.argmax(1), posterior.max(1)
    for low, high in ((0.5, 0.8), (0.8, 0.95), (0.95, 1.01)):
        rows = (sure >= low) & (sure < high)
        if rows.sum() > 50:
            assert (best == true)[rows].mean() > low


def test_samples_without_votes_are_left_out_and_counted_by_the_others():
    true, given, votes = problem(0.2)
    known = estimate_noise(votes[:2000], given[:2000])
    votes[2000:] = np.nan
    found = estimate_noise(votes, given)
    assert found.n_wrong == pytest.approx(2 * known.n_wrong)
    even = np.full((4000, 10), 0.1)
    posterior = true_class_probability(votes, even, given, found)
    assert np.isnan(posterior[2000:]).all()
    expected = true_class_probability(votes[:2000], even[:2000], given[:2000], known)
    np.testing.assert_allclose(posterior[:2000], expected)


@pytest.mark.parametrize("given", [[0, 0, 0, 0], [0, 1, 0, 1]])
def test_very_few_labels_are_no_error(given):
    votes = np.full((4, 2), 0.5)
    found = estimate_noise(votes, np.array(given))
    assert 0 <= found.interval[0] <= found.interval[1] <= 4
    assert np.isfinite(true_class_probability(votes, votes, np.array(given), found)).all()
