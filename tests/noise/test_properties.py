"""Noise models, whatever the labels, the rate and the seed: a matrix and labels that agree."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.noise.class_dependent import (
    ASYMMETRIC,
    INSTANCE_DEPENDENT,
    NOISE_NOTES,
    Noise,
    NoiseError,
    class_dependent_noise,
    observed_matrix,
    transition_matrix,
)
from engine.noise.instance_dependent import (
    MARGIN_TYPES,
    human_noise,
    instance_dependent_noise,
    margin_noise,
)

FEW = settings(max_examples=40, deadline=None, derandomize=True)
RATES = st.floats(0, 1)
SEEDS = st.integers(0, 2**32 - 1)
BY_CLASS = [kind for kind in NOISE_NOTES if kind not in INSTANCE_DEPENDENT]


@st.composite
def problems(draw, n_max: int = 400) -> tuple[np.ndarray, int]:
    """Labels (N,) and the number of classes, of which some may have no sample."""
    n_classes = draw(st.integers(2, 12))
    n = draw(st.integers(1, n_max))
    labels = np.random.default_rng(draw(SEEDS)).integers(draw(st.integers(1, n_classes)), size=n)
    return labels, n_classes


@st.composite
def stochastic(draw, n_classes: int) -> np.ndarray:
    """Rows (C, C) that sum to 1, zeros and ones among the entries."""
    shares = draw(arrays(float, (n_classes, n_classes), elements=st.sampled_from([0, 0.1, 1, 3])))
    sums = shares.sum(1, keepdims=True)
    assume((sums > 0).all())
    return shares / sums


def options(kind: str, n_classes: int, data) -> tuple[int, dict]:
    """The number of classes that a model is for, and what else it needs."""
    if kind == "matrix":
        return n_classes, {"matrix": data.draw(stochastic(n_classes))}
    if kind == "asymmetric":
        dataset = data.draw(st.sampled_from([*ASYMMETRIC, "cifar100"]))
        return 100 if dataset == "cifar100" else 10, {"dataset": dataset}
    if kind == "asymmetric-as-published":
        return 100, {"dataset": "cifar100"}
    return n_classes, {}


def check(noise: Noise, labels: np.ndarray, n_classes: int) -> None:
    """What holds of every noise model."""
    assert noise.matrix.shape == (n_classes, n_classes)
    assert (noise.matrix >= 0).all()
    np.testing.assert_allclose(noise.matrix.sum(1), 1)
    assert noise.labels.shape == labels.shape
    assert 0 <= noise.labels.min() <= noise.labels.max() < n_classes
    assert noise.rate_actual == (noise.labels != labels).mean()


def allowed_gap(probability: float, n: int) -> float:
    """How far a share of n draws may be from its probability: six standard deviations and one."""
    return 6 * (probability * (1 - probability) / n) ** 0.5 + 1 / n


@pytest.mark.parametrize("kind", BY_CLASS)
@FEW
@given(problem=problems(), rate=RATES, seed=SEEDS, data=st.data())
def test_labels_are_drawn_from_the_rows_of_the_matrix(kind, problem, rate, seed, data):
    labels, n_classes = problem
    n_classes, more = options(kind, n_classes, data)
    labels = labels % n_classes
    noise = class_dependent_noise(labels, kind, rate, n_classes=n_classes, seed=seed, **more)
    check(noise, labels, n_classes)
    np.testing.assert_array_equal(noise.matrix, transition_matrix(kind, rate, n_classes, **more))
    impossible = observed_matrix(labels, noise.labels, n_classes)[noise.matrix == 0]
    assert (impossible == 0).all()
    wrong = 1 - noise.matrix[labels, labels].mean()  # expected, by the diagonal
    assert abs(noise.rate_actual - wrong) <= allowed_gap(wrong, len(labels))


@FEW
@given(n_classes=st.integers(2, 60), rate=RATES)
def test_the_diagonal_is_the_share_that_stays(n_classes, rate):
    for kind, stays in (
        ("none", 1),
        ("symmetric", 1 - rate + rate / n_classes),
        ("symmetric-exclusive", 1 - rate),
        ("pair", 1 - rate),
    ):
        matrix = transition_matrix(kind, rate, n_classes)
        np.testing.assert_allclose(matrix.diagonal(), stays, atol=1e-12)
    off = transition_matrix("symmetric", rate, n_classes)[~np.eye(n_classes, dtype=bool)]
    np.testing.assert_allclose(off, rate / n_classes)


@FEW
@given(problem=problems(), rate=RATES, seed=SEEDS)
def test_exclusive_noise_makes_exactly_the_rate_wrong(problem, rate, seed):
    labels, n_classes = problem
    noise = class_dependent_noise(
        labels, "symmetric-exclusive", rate, n_classes=n_classes, seed=seed
    )
    assert (noise.labels != labels).sum() == int(round(rate * len(labels), 6))


@FEW
@given(problem=problems(60), rate=RATES, seed=SEEDS)
def test_instance_noise(problem, rate, seed):
    labels, n_classes = problem
    images = np.random.default_rng(seed).integers(0, 256, (len(labels), 1, 3, 3), dtype=np.uint8)
    noise = instance_dependent_noise(
        labels,
        images,
        rate,
        mean=np.array([0.5]),
        std=np.array([0.3]),
        n_classes=n_classes,
        seed=seed,
    )
    check(noise, labels, n_classes)
    absent = np.setdiff1d(np.arange(n_classes), labels)
    np.testing.assert_array_equal(noise.matrix[absent], np.eye(n_classes)[absent])


@FEW
@given(
    problem=problems(), rate=RATES, seed=SEEDS, margin_type=st.sampled_from(sorted(MARGIN_TYPES))
)
def test_margin_noise_makes_the_rate_wrong(problem, rate, seed, margin_type):
    labels, n_classes = problem
    eta = np.random.default_rng(seed).dirichlet([0.5] * n_classes, len(labels))
    noise = margin_noise(labels, eta, rate, margin_type=margin_type, seed=seed)
    check(noise, labels, n_classes)
    assert 1 - noise.matrix[labels, labels].mean() == pytest.approx(rate, abs=1e-6)
    assert abs(noise.rate_actual - rate) <= allowed_gap(rate, len(labels))


@FEW
@given(problem=problems(), seed=SEEDS)
def test_labels_of_people_are_taken_row_by_row(problem, seed):
    clean, n_classes = problem
    rng = np.random.default_rng(seed)
    human = rng.integers(n_classes, size=len(clean))
    rows = rng.integers(len(clean), size=rng.integers(1, len(clean) + 1))
    noise = human_noise(clean[rows], clean, human, n_classes=n_classes, rows=rows)
    check(noise, clean[rows], n_classes)
    np.testing.assert_array_equal(noise.labels, human[rows])
    assert noise.rate_requested == noise.rate_actual


@FEW
@given(n_classes=st.integers(2, 6), data=st.data())
def test_a_table_that_is_no_transition_matrix_is_refused(n_classes, data):
    matrix = data.draw(stochastic(n_classes))
    row, column = data.draw(st.tuples(*[st.integers(0, n_classes - 1)] * 2))
    wrong = st.floats(-1e300, 1e300) | st.sampled_from([np.nan, np.inf, -np.inf])
    value = data.draw(wrong.filter(lambda v: not abs(v - matrix[row, column]) <= 1e-5))
    matrix[row, column] = value
    with pytest.raises(NoiseError, match="noise matrix .*: allowed is"):
        class_dependent_noise(np.arange(n_classes), "matrix", matrix=matrix)


@FEW
@given(
    rate=st.floats(max_value=-1e-9) | st.floats(min_value=1 + 1e-9) | st.just(np.nan),
    kind=st.sampled_from([kind for kind in BY_CLASS if kind != "matrix"]),
)
def test_a_rate_outside_0_to_1_is_refused(rate, kind):
    with pytest.raises(NoiseError, match="rate = .*: allowed is 0 to 1"):
        class_dependent_noise(np.array([0, 1]), kind, rate)
    with pytest.raises(NoiseError, match="rate = .*: allowed is 0 to 1"):
        margin_noise(np.array([0, 1]), np.full((2, 2), 0.5), rate)
    with pytest.raises(NoiseError, match="rate = .*: allowed is 0 to 1"):
        instance_dependent_noise(
            np.array([0, 1]),
            np.zeros((2, 1, 3, 3), np.uint8),
            rate,
            mean=np.zeros(1),
            std=np.ones(1),
        )
