"""From losses to P(clean): a two-component Gaussian mixture on the per-sample losses."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.hardware import threads

# Two Gaussian components closer than this many pooled standard deviations are unimodal
# (Ashman's D, Ashman et al. 1994).
MIN_ASHMAN_D = 2.0
# The reference code's mixture, see `fit_clean_probability`.
MAX_ITER, TOL, REG_COVAR = 10, 1e-2, 5e-4
# Of the k-means that it starts from: scikit-learn's defaults.
KMEANS_MAX_ITER, KMEANS_TOL = 300, 1e-4


@dataclass(frozen=True, eq=False)
class CleanFit:
    """A fitted mixture; component 0 is the one with the smaller mean, the clean one."""

    clean: Tensor  # (N,) float32 in [0, 1], 1 = certainly clean; on the device of the losses
    means: np.ndarray  # (2,) float64, ascending, in units of the losses
    stds: np.ndarray  # (2,) float64
    weights: np.ndarray  # (2,) float64, sum to 1
    converged: bool
    n_iter: int
    warning: str | None = None  # why P(clean) should not be trusted

    def parameters(self) -> dict[str, Any]:
        """Everything but P(clean), as JSON takes it: `Snapshot.mixture`."""
        return {
            "means": self.means.tolist(),
            "stds": self.stds.tolist(),
            "weights": self.weights.tolist(),
            "converged": self.converged,
            "n_iter": self.n_iter,
            "warning": self.warning,
        }


def normalize_losses(losses: Tensor) -> Tensor:
    """Losses scaled to [0, 1] by the smallest and the largest finite one.

    losses: (N,) float. Returns (N,) of the same type: all 0 where they are all equal; losses that
    are not finite stay so. Source: arXiv 2406.16966; MacLLL/MixNN.

    >>> normalize_losses(torch.tensor([1.0, 3.0, 2.0]))
    tensor([0.0000, 1.0000, 0.5000])
    """
    if losses.numel() == 0:
        return losses.clone()
    # no rows are selected: a GPU would have to be waited for
    finite = torch.isfinite(losses)
    low = torch.where(finite, losses, math.inf).min()
    high = torch.where(finite, losses, -math.inf).max()
    scaled = (losses - low) / torch.where(high > low, high - low, 1)
    return torch.where(finite, scaled, losses)


def fit_clean_probability(losses: Tensor, *, seed: int = 0) -> CleanFit:
    """P(clean) of each sample: posterior of the mixture component with the smaller mean.

    losses: (N,) float, scaled to [0, 1] by `normalize_losses` (reg_covar assumes that scale). The
    fit is scikit-learn's GaussianMixture with the reference code's settings and the same seed,
    computed by sums on the device of the losses; it stops early, so the result depends on its
    start. Never raises on degenerate values; the result then has a warning:

    - a loss that is not finite gets P(clean) 0, and the mixture is fitted to the others;
    - where the finite losses are all equal, or fewer than two, labels cannot be distinguished:
      these get P(clean) 1, and both components have their mean and std 0;
    - where the mixture is unimodal (Ashman's D below 2), the posterior is returned as fitted.

    Source: arXiv 2406.16966; MacLLL/MixNN.
    """
    values = losses.detach().double()
    finite = torch.isfinite(values)
    # everything, without selecting, where everything is finite: a GPU is waited for once
    rows = slice(None) if finite.all() else finite
    used = values[rows]
    warnings = []
    if len(used) < len(values):
        warnings.append(f"{len(values) - len(used)} losses are not finite: they count as not clean")
    clean = torch.zeros_like(values)
    if len(used) < 2 or used.min() == used.max():
        warnings.append("the losses are all equal: clean and wrong labels cannot be distinguished")
        clean[rows] = 1.0
        mean = float(used.mean()) if len(used) else 0.0
        means, stds, weights = np.full(2, mean), np.zeros(2), np.full(2, 0.5)
        converged, n_iter = True, 0
    else:
        with threads(1):  # the same result for any number of threads; more would mostly wait
            clean[rows], (means, stds, weights), converged, n_iter = _fit_mixture(used, seed)
        distance = (means[1] - means[0]) / np.sqrt((stds**2).mean())
        if distance < MIN_ASHMAN_D:
            warnings.append(
                f"the losses are unimodal: the components are {distance:.1f} pooled standard "
                f"deviations apart (bimodal from {MIN_ASHMAN_D:g})"
            )
    return CleanFit(
        clean=clean.float(),
        means=means,
        stds=stds,
        weights=weights,
        converged=converged,
        n_iter=n_iter,
        warning="; ".join(warnings) or None,
    )


def _fit_mixture(values: Tensor, seed: int):
    """values (M,) -> posterior of the lower component (M,), its (3, 2) parameters, converged, n."""
    center = values.mean()
    x = values - center  # sums of squares are then exact enough
    second = _second_cluster(x, seed).double()
    components, _ = _maximize(x, (1 - second, second))
    n_iter, bound, converged = 0, -math.inf, False
    while not converged and n_iter < MAX_ITER:
        posteriors, likelihood = _expect(x, components)
        components, new_bound = _maximize(x, posteriors, likelihood)
        converged = abs(new_bound - bound) < TOL
        n_iter, bound = n_iter + 1, new_bound
    posteriors, _ = _expect(x, components)
    order = sorted((0, 1), key=lambda component: components[component])
    parameters = np.array([components[component] for component in order]).T
    parameters[0] += center.item()
    return posteriors[order[0]], parameters, converged, n_iter


def _second_cluster(x: Tensor, seed: int) -> Tensor:
    """k-means of x (M,), mean 0, as scikit-learn's: membership in the second cluster, (M,) bool.

    k-means++ samples a first value, then two others by their squared distance to it, and keeps the
    one with the smaller sum of squared distances. Lloyd's iterations follow.
    """
    draws = np.random.RandomState(seed).uniform(size=3)
    first = x[int(draws[0] * len(x))]
    far = (x - first) ** 2
    reach = far.cumsum(0)
    rows = torch.searchsorted(reach, torch.from_numpy(draws[1:]).to(x.device) * reach[-1])
    candidates = x[rows.clamp(max=len(x) - 1)]
    inertia = torch.stack([torch.minimum(far, (x - value) ** 2).sum() for value in candidates])
    a, b = torch.stack([first, candidates[inertia.argmin()]]).tolist()

    def nearer_to_second() -> Tensor:
        # rounded as in scikit-learn, which decides for values midway
        return b**2 - 2 * (x * b) < a**2 - 2 * (x * a)

    total, squares = torch.stack([x.sum(), (x**2).sum()]).tolist()
    for _ in range(KMEANS_MAX_ITER):
        second = nearer_to_second().double()
        n, part = torch.stack([second.sum(), (second * x).sum()]).tolist()
        before, (a, b) = (a, b), ((total - part) / (len(x) - n), part / n)
        if (a - before[0]) ** 2 + (b - before[1]) ** 2 <= KMEANS_TOL * squares / len(x):
            break
    return nearer_to_second()


def _maximize(
    x: Tensor, posteriors: tuple[Tensor, ...], likelihood: Tensor | None = None
) -> tuple[list[tuple[float, float, float]], float]:
    """x (M,), each component's posterior (M,) -> each component's mean, std and weight.

    likelihood: a number on the device, which is returned beside them: a GPU is waited for once.
    """
    sums = [(p * power).sum() for p in posteriors for power in (1, x, x**2)]
    *values, bound = torch.stack([*sums, sums[0] if likelihood is None else likelihood]).tolist()
    components = []
    for n, first, second in (values[:3], values[3:]):
        n += 10 * np.finfo(np.float64).eps  # as in scikit-learn
        mean = first / n
        variance = max(second / n - mean**2, 0) + REG_COVAR
        components.append((mean, math.sqrt(variance), n / len(x)))
    return components, bound


def _expect(
    x: Tensor, components: list[tuple[float, float, float]]
) -> tuple[tuple[Tensor, ...], Tensor]:
    """x (M,), components of `_maximize` -> their posteriors, (M,) each, mean log-likelihood ()."""
    parts = [
        math.log(weight / (std * math.sqrt(2 * math.pi))) - ((x - mean) / std) ** 2 / 2
        for mean, std, weight in components
    ]
    total = torch.logaddexp(*parts)
    return tuple((part - total).exp() for part in parts), total.mean()
