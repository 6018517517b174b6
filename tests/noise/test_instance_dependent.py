"""Instance-dependent noise, against its definition computed another way."""

import numpy as np
import pytest
from scipy.stats import chisquare, kstest, truncnorm

from engine.errors import NoiseError
from engine.noise import instance_dependent
from engine.noise.class_dependent import observed_matrix
from engine.noise.instance_dependent import (
    MARGIN_TYPES,
    human_noise,
    instance_dependent_noise,
    margin_noise,
)

rng = np.random.default_rng(0)
N, C = 1200, 4
LABELS = rng.integers(C, size=N)
IMAGES = rng.integers(0, 256, (N, 3, 4, 4)).astype(np.uint8)
LOOK = dict(mean=np.array([0.5, 0.4, 0.6]), std=np.array([0.25, 0.3, 0.2]))
ETA = rng.dirichlet([0.4] * C, N)


def by_image(rate=0.4, **more):
    return instance_dependent_noise(LABELS, IMAGES, rate, n_classes=C, **LOOK | more)


def probabilities_by_hand(weights: np.ndarray, flip: np.ndarray) -> np.ndarray:
    """p of each sample, pixel by pixel. weights (C, d, C); flip (N,)."""
    table = np.zeros((N, C))
    for i in range(N):
        x = [
            (IMAGES[i, channel, row, column] / 255 - LOOK["mean"][channel]) / LOOK["std"][channel]
            for channel in range(3)
            for row in range(4)
            for column in range(4)
        ]
        others = [c for c in range(C) if c != LABELS[i]]
        scores = [sum(np.array(x) * weights[LABELS[i], :, c]) for c in others]
        powers = [np.exp(score - max(scores)) for score in scores]
        for c, power in zip(others, powers, strict=True):
            table[i, c] = flip[i] * power / sum(powers)
        table[i, LABELS[i]] = 1 - flip[i]
    return table


def test_instance_noise_draws_by_each_images_own_probabilities(monkeypatch):
    flip = np.random.default_rng(1).uniform(0.1, 0.7, N)
    weights = np.random.default_rng(2).normal(0, 0.1, (C, 48, C))  # mild, so that no p is 0
    made = np.random.default_rng

    class Fixed:
        """Other random numbers for every seed, but the same projections, class by class."""

        def __init__(self, seed):
            self.random, self.projections = made(seed).random, iter(weights)

        def standard_normal(self, shape):
            found = next(self.projections)
            assert found.shape == shape
            return found

    monkeypatch.setattr(instance_dependent.np.random, "default_rng", Fixed)
    monkeypatch.setattr(instance_dependent, "_truncated_normal", lambda *_: flip)
    monkeypatch.setattr(instance_dependent, "CHUNK_IMAGES", 100)  # a class takes several chunks
    draws = 400
    given = np.stack([by_image(seed=seed).labels for seed in range(draws)])
    counts = np.stack([(given == c).sum(0) for c in range(C)], 1)
    expected = probabilities_by_hand(weights, flip)
    often = np.flatnonzero(expected.min(1) > 0.02)  # enough samples of each class to compare
    p = [chisquare(counts[i], draws * expected[i]).pvalue for i in often]
    assert len(p) > N / 3
    assert kstest(p, "uniform").pvalue > 1e-3  # as it is where the draws follow the definition
    for c in range(C):
        np.testing.assert_allclose(by_image(seed=1).matrix[c], expected[c == LABELS].mean(0))


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.4, 1.0])
def test_flip_rates_are_a_truncated_normal(rate):
    values = instance_dependent._truncated_normal(np.random.default_rng(3), rate, 5000)
    known = truncnorm(-rate / 0.1, (1 - rate) / 0.1, loc=rate, scale=0.1)
    assert kstest(values, known.cdf).pvalue > 1e-3
    # what becomes wrong on average is the mean of the flip rates
    assert by_image(rate).rate_actual == pytest.approx(known.mean(), abs=5 * 0.5 / N**0.5)
    assert 1 - np.average(by_image(rate).matrix.diagonal(), weights=np.bincount(LABELS)) == (
        pytest.approx(known.mean(), abs=0.02)
    )


def test_instance_noise_sends_like_images_to_the_same_class():
    """Within a class the projection decides, not chance: copies of an image go one way."""
    images = np.repeat(IMAGES[:1], N, axis=0)
    noise = instance_dependent_noise(np.zeros(N, int), images, 0.5, n_classes=10, **LOOK, seed=2)
    went = np.bincount(noise.labels[noise.labels > 0])
    assert went.max() / went.sum() > 0.95


def test_instance_noise_is_a_function_of_its_arguments_alone():
    before = IMAGES.copy()
    first = by_image(seed=5)
    np.random.seed(1)
    np.testing.assert_array_equal(first.labels, by_image(seed=5).labels)
    assert (first.labels != by_image(seed=6).labels).any()
    np.testing.assert_array_equal(IMAGES, before)
    assert first.rate_requested == 0.4
    assert first.rate_actual == (first.labels != LABELS).mean()


def test_a_class_without_samples_keeps_its_label():
    noise = instance_dependent_noise(LABELS, IMAGES, 0.4, n_classes=6, **LOOK)
    np.testing.assert_array_equal(noise.matrix[4:], np.eye(6)[4:])
    np.testing.assert_allclose(noise.matrix.sum(1), 1)


@pytest.mark.parametrize("margin_type", MARGIN_TYPES)
@pytest.mark.parametrize("rate", [0.0, 0.05, 0.35, 0.7, 1.0])
def test_margin_noise_keeps_by_the_polynomial_over_a_factor(margin_type, rate):
    draws = 300
    runs = [
        margin_noise(LABELS, ETA, rate, margin_type=margin_type, seed=seed) for seed in range(draws)
    ]
    given = np.stack([run.labels for run in runs])
    assert (given != LABELS).mean() == pytest.approx(rate, abs=0.005)
    if rate in (0.0, 1.0):
        return
    kept = (given == LABELS).mean(0)
    ranked = np.sort(ETA, 1)
    d = ranked[:, -1] - ranked[:, -2]
    polynomial = {"I": (1 + d**2) / 2, "II": d**3, "III": (d + d * d + d * d * d) / 3}[margin_type]
    free = kept < 0.9  # not clipped: there kept is the polynomial over one factor for all
    factor = polynomial[free].sum() / kept[free].sum()
    expected = np.minimum(polynomial / factor, 1)
    assert np.abs(kept - expected).max() < 6 * 0.5 / draws**0.5
    assert np.abs(kept - expected).mean() < 0.03
    # flips concentrate where two classes are close
    if rate < 0.7:
        assert kept[d < 0.1].mean() < kept[d > 0.8].mean() - 0.05


def test_margin_flips_go_to_the_likeliest_class_that_is_not_the_label():
    given = margin_noise(LABELS, ETA, 0.6).labels
    for i in np.flatnonzero(given != LABELS):
        order = [c for c in ETA[i].argsort()[::-1] if c != LABELS[i]]
        assert given[i] == order[0]
    assert (ETA.argmax(1) != LABELS).mean() > 0.5, "both cases are in these data"


def test_margin_matrix_is_the_expected_one():
    draws = [margin_noise(LABELS, ETA, 0.4, seed=seed) for seed in range(200)]
    seen = np.mean([observed_matrix(LABELS, draw.labels, C) for draw in draws], axis=0)
    np.testing.assert_allclose(seen, draws[0].matrix, atol=0.01)
    np.testing.assert_allclose(draws[0].matrix.sum(1), 1)
    assert draws[0].rate_requested == 0.4


def test_human_labels_are_taken_in_their_order():
    clean, human = LABELS, (LABELS + (np.arange(N) % 5 == 0)) % C
    noise = human_noise(LABELS, clean, human, n_classes=C)
    np.testing.assert_array_equal(noise.labels, human)
    assert noise.rate_requested == noise.rate_actual == 0.2
    np.testing.assert_array_equal(noise.matrix, observed_matrix(LABELS, human, C))
    rows = np.array([3, 10, 500, 1199])
    subset = human_noise(LABELS[rows], clean, human, n_classes=C, rows=rows)
    np.testing.assert_array_equal(subset.labels, human[rows])


def test_human_labels_of_other_images_are_refused():
    swapped = LABELS.copy()
    a, b = 7, int(np.flatnonzero(LABELS[7] != LABELS)[0])
    swapped[[a, b]] = swapped[[b, a]]
    with pytest.raises(NoiseError, match=f"not in the order.*row {min(a, b)} .*2 rows differ"):
        human_noise(LABELS, swapped, LABELS)
    with pytest.raises(NoiseError, match="1199 human labels but 1200 images"):
        human_noise(LABELS, LABELS[:-1], LABELS[:-1])
    with pytest.raises(NoiseError, match="none for the image in row 1199"):
        human_noise(LABELS[[0, 1199]], LABELS[:9], LABELS[:9], rows=np.array([0, 1199]))
    with pytest.raises(NoiseError, match="labels 4..4: allowed is 0..3"):
        human_noise(LABELS, LABELS, np.full(N, 4), n_classes=C)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: by_image(1.1), "rate = 1.1: allowed is 0 to 1"),
        (
            lambda: instance_dependent_noise(LABELS, IMAGES[1:], 0.4, **LOOK),
            "1199 images but 1200 labels",
        ),
        (lambda: margin_noise(LABELS, ETA, -1), "rate = -1"),
        (lambda: margin_noise(LABELS, ETA[1:], 0.1), "1199 images but 1200 labels"),
        (
            lambda: margin_noise(LABELS, ETA, 0.1, margin_type="IV"),
            "margin_type = 'IV': allowed are I, II, III",
        ),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(NoiseError, match=message):
        call()
