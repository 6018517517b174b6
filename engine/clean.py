"""From losses to P(clean): a two-component Gaussian mixture on the per-sample losses."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Two normal components closer than this many pooled standard deviations make one hump
# (Ashman's D, Ashman et al. 1994).
SEPARATED = 2.0


@dataclass(frozen=True, eq=False)
class CleanFit:
    """A fitted mixture; component 0 is the one with the smaller mean, the clean one."""

    clean: Tensor  # (N,) float32 in [0, 1], 1 = surely clean; on the device of the losses
    means: np.ndarray  # (2,) float64, ascending, in units of the losses
    stds: np.ndarray  # (2,) float64
    weights: np.ndarray  # (2,) float64, sum to 1
    converged: bool
    n_iter: int
    warning: str | None = None  # why P(clean) should not be trusted; None: no doubt


def normalize_losses(losses: Tensor) -> Tensor:
    """Losses scaled to [0, 1] by the least and the largest finite one.

    losses: (N,) float. Returns (N,) of the same type: all 0 where they are all equal; what is not
    finite stays so. Source: arXiv 2406.16966; MacLLL/MixNN.

    >>> normalize_losses(torch.tensor([1.0, 3.0, 2.0]))
    tensor([0.0000, 1.0000, 0.5000])
    """
    finite = losses[torch.isfinite(losses)]
    if finite.numel() == 0:
        return losses.clone()
    low, high = finite.min(), finite.max()
    return (losses - low) / torch.where(high > low, high - low, torch.ones_like(high))


def fit_clean_probability(losses: Tensor, *, seed: int = 0) -> CleanFit:
    """P(clean) of each sample: posterior of the mixture component with the smaller mean.

    losses: (N,) float, scaled to [0, 1] by `normalize_losses` (reg_covar counts on that scale).
    The fit is scikit-learn's with the reference code's settings; its early stop is part of the
    answer. Never raises on odd values; the answer then carries a warning:

    - a loss that is not finite gets P(clean) 0, and the fit is made on the others;
    - where the finite losses are all equal, or fewer than two, nothing tells labels apart: these
      get P(clean) 1, both components stand at their mean with std 0;
    - where the two components form one hump (Ashman's D below 2), the posterior is returned as
      fitted, and the warning says so.

    Source: arXiv 2406.16966; MacLLL/MixNN.
    """
    values = losses.detach().double().cpu().numpy()
    finite = np.isfinite(values)
    doubts = []
    if not finite.all():
        doubts.append(f"{int((~finite).sum())} losses are not finite; they count as not clean")
    used = values[finite]
    clean = np.zeros(len(values))
    if len(used) < 2 or used.min() == used.max():
        doubts.append("the losses are all equal: nothing tells clean from wrong")
        clean[finite] = 1.0
        mean = float(used.mean()) if len(used) else 0.0
        means, stds, weights = np.full(2, mean), np.zeros(2), np.full(2, 0.5)
        converged, n_iter = True, 0
    else:
        clean[finite], means, stds, weights, converged, n_iter = _fit_mixture(used, seed)
        distance = (means[1] - means[0]) / np.sqrt((stds**2).mean())
        if distance < SEPARATED:
            doubts.append(
                f"the losses show one hump: the components are {distance:.1f} pooled standard "
                f"deviations apart ({SEPARATED:g} would be two humps)"
            )
    return CleanFit(
        clean=torch.from_numpy(clean).to(losses.device, torch.float32),
        means=means, stds=stds, weights=weights, converged=converged, n_iter=n_iter,
        warning="; ".join(doubts) or None,
    )  # fmt: skip


def _fit_mixture(values: np.ndarray, seed: int):
    """values (M,) -> posterior of the lower component (M,), means, stds, weights, converged, n."""
    # late: importing scikit-learn takes a second
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    mixture = GaussianMixture(
        n_components=2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=seed
    )
    column = values[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the early stop is meant
        # k-means adds partial sums in the order its threads end: one thread repeats itself
        with threadpool_limits(1, user_api="openmp"):
            mixture.fit(column)
    order = np.argsort(mixture.means_[:, 0], kind="stable")
    posterior = mixture.predict_proba(column)[:, order[0]]
    stds = np.sqrt(mixture.covariances_[order, 0, 0])
    return (
        posterior, mixture.means_[order, 0], stds, mixture.weights_[order],
        bool(mixture.converged_), int(mixture.n_iter_),
    )  # fmt: skip
