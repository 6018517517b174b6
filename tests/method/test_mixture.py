"""P(clean) against scikit-learn's mixture, and at the edges."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from engine.config import configure
from engine.data import load_data
from engine.method.mixture import fit_clean_probability, normalize_losses
from engine.training.train import train


def two_humps(n: int = 600, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    rng = np.random.default_rng(seed)
    wrong = rng.random(n) < 0.4
    values = np.where(wrong, rng.normal(2.5, 0.4, n), rng.normal(0.5, 0.2, n)).clip(0)
    return normalize_losses(torch.from_numpy(values).float()), wrong


def by_scikit_learn(values: torch.Tensor, seed: int) -> tuple[list[np.ndarray], tuple[int, bool]]:
    """P(clean), means, stds, weights of scikit-learn's mixture; its number of steps, its end."""
    column = values.double()[:, None].numpy()
    mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(column)
    order = mixture.means_[:, 0].argsort()
    stds = np.sqrt(mixture.covariances_[order, 0, 0])
    return [
        mixture.predict_proba(column)[:, order[0]],
        mixture.means_[order, 0],
        stds,
        mixture.weights_[order],
    ], (mixture.n_iter_, mixture.converged_)


def assert_as_scikit_learn(values: torch.Tensor, seed: int) -> None:
    fit = fit_clean_probability(values, seed=seed)
    expected, end = by_scikit_learn(values, seed)
    for found, wanted in zip((fit.clean, fit.means, fit.stds, fit.weights), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert (fit.n_iter, fit.converged) == end


DRAWN = {
    "bimodal": lambda rng, n: np.where(
        rng.random(n) < 0.4, rng.normal(2.5, 0.4, n), rng.normal(0.5, 0.2, n)
    ),
    "unimodal": lambda rng, n: rng.normal(size=n),
    "skewed": lambda rng, n: rng.gamma(1, 1, n),
    "heavy tail": lambda rng, n: rng.pareto(1.5, n),
    "mostly zero": lambda rng, n: np.where(rng.random(n) < 0.9, 0, rng.random(n)),
    "three values": lambda rng, n: rng.integers(0, 3, n),  # one is midway
    "one far off": lambda rng, n: np.where(np.arange(n) == 1, 100, rng.normal(size=n)),
}


@pytest.mark.parametrize("kind", DRAWN)
def test_the_mixture_is_scikit_learns(kind):
    """From the same seed, in P(clean), parameters, number of steps and end."""
    for n in (2, 3, 10, 100, 3000):
        for seed in range(6):
            values = DRAWN[kind](np.random.default_rng(seed), n)
            if values.min() < values.max():
                scaled = normalize_losses(torch.from_numpy(values).float())
                assert_as_scikit_learn(scaled, seed)


def test_the_mixture_of_a_million_losses_is_scikit_learns():
    values = DRAWN["skewed"](np.random.default_rng(0), 1_000_000)
    assert_as_scikit_learn(normalize_losses(torch.from_numpy(values).float()), seed=1)


def test_the_mixture_of_real_losses_is_scikit_learns():
    config = configure(
        dataset="digits", limit=600, epochs=4, warmup=1, correction_start=2, device="cpu"
    )
    for snapshot in train(config, load_data(config)):
        for seed in range(3):
            assert_as_scikit_learn(torch.from_numpy(snapshot.scaled_loss), seed)


def test_the_mixture_is_the_same_for_any_number_of_threads():
    values = normalize_losses(torch.from_numpy(DRAWN["skewed"](np.random.default_rng(0), 200_000)))
    fits = []
    for n in (1, 2, 3):
        torch.set_num_threads(n)
        fits.append(fit_clean_probability(values))
        assert torch.get_num_threads() == n
    torch.set_num_threads(1)
    for fit in fits[1:]:
        assert torch.equal(fit.clean, fits[0].clean)
        np.testing.assert_array_equal(fit.means, fits[0].means)


def test_two_humps_are_told_apart():
    values, wrong = two_humps()
    fit = fit_clean_probability(values, seed=0)
    assert fit.means[0] < fit.means[1]
    assert fit.weights.sum() == pytest.approx(1)
    assert ((fit.clean.numpy() < 0.5) == wrong).mean() > 0.98
    assert fit.warning is None


def test_clean_probability_of_equal_losses_is_one_with_a_warning():
    for values in (torch.full((7,), 0.3), torch.zeros(1)):
        fit = fit_clean_probability(values)
        assert fit.clean.tolist() == [1.0] * len(values)
        assert fit.stds.tolist() == [0, 0]
        assert "all equal" in fit.warning


def test_losses_that_are_not_finite_count_as_not_clean():
    values, _ = two_humps()
    holed = values.clone()
    holed[3], holed[5] = float("nan"), float("inf")
    fit = fit_clean_probability(holed)
    assert fit.clean[[3, 5]].tolist() == [0, 0]
    assert torch.isfinite(fit.clean).all()
    assert "2 losses are not finite" in fit.warning
    kept = torch.ones(len(values), dtype=torch.bool)
    kept[[3, 5]] = False
    np.testing.assert_allclose(fit.clean[kept], fit_clean_probability(values[kept]).clean)
    nothing = fit_clean_probability(torch.full((4,), float("nan")))
    assert nothing.clean.tolist() == [0] * 4
    assert nothing.warning


def test_unimodal_losses_get_a_warning():
    values = torch.from_numpy(np.random.default_rng(0).normal(0.5, 0.1, 2000)).float()
    fit = fit_clean_probability(normalize_losses(values))
    assert "unimodal" in fit.warning
    assert ((fit.clean >= 0) & (fit.clean <= 1)).all()


def test_normalize_losses_spans_zero_to_one_and_survives_odd_values():
    scaled = normalize_losses(torch.tensor([2.0, float("nan"), 4.0, 3.0]))
    np.testing.assert_array_equal(scaled, [0, np.nan, 1, 0.5])
    assert normalize_losses(torch.full((3,), 2.0)).tolist() == [0, 0, 0]
    assert normalize_losses(torch.tensor([float("nan")])).isnan().all()
