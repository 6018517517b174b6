"""Seconds of P(clean), and how far it is from scikit-learn's, on drawn and on real losses.

    python tests/benchmarks/bench_clean.py [--dataset cifar10] [--out assets/results/clean.json]

"difference": the largest of P(clean), means, standard deviations and weights. Drawn losses are two
gamma distributions, 40 % wrong labels; real ones are those of each epoch of a run of MixNN.
"""

import warnings

import numpy as np
import torch
from common import finish, interleaved, options
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from engine.config import configure
from engine.data import load_data
from engine.hardware import choose_device, hardware_info
from engine.method.mixture import fit_clean_probability, normalize_losses
from engine.training.train import train

SIZES = {1437: 21, 50_000: 9, 1_000_000: 5}  # losses -> repetitions


def drawn(n: int, device: torch.device) -> torch.Tensor:
    rng = np.random.default_rng(0)
    values = np.where(rng.random(n) < 0.4, rng.gamma(9, 0.3, n), rng.gamma(1, 0.3, n))
    return normalize_losses(torch.from_numpy(values).float()).to(device)


def by_scikit_learn(losses: torch.Tensor) -> tuple[GaussianMixture, np.ndarray]:
    """What `fit_clean_probability` is to equal; one thread, so that it repeats itself."""
    column = losses.double()[:, None].numpy(force=True)
    mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=0)
    with warnings.catch_warnings(), threadpool_limits(1, user_api="openmp"):
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture, mixture.fit(column).predict_proba(column)


def difference(losses: torch.Tensor) -> dict:
    fit = fit_clean_probability(losses)
    mixture, posterior = by_scikit_learn(losses)
    order = mixture.means_[:, 0].argsort()
    pairs = [
        (fit.clean.numpy(force=True), posterior[:, order[0]]),
        (fit.means, mixture.means_[order, 0]),
        (fit.stds, np.sqrt(mixture.covariances_[order, 0, 0])),
        (fit.weights, mixture.weights_[order]),
    ]
    largest = max(float(np.abs(found - wanted).max()) for found, wanted in pairs)
    return {
        "difference": largest,
        "n_iter": fit.n_iter,
        "n_iter_scikit_learn": mixture.n_iter_,
    }


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--epochs", type=int, default=4)
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    measured_on = hardware_info(device)
    results: dict[str, dict] = {"drawn": {}, "real": {}}
    for n, repetitions in SIZES.items():
        losses = drawn(n, device)
        ways = {
            "ours": lambda losses=losses: fit_clean_probability(losses),
            "scikit-learn": lambda losses=losses: by_scikit_learn(losses),
        }
        seconds = interleaved(ways, repetitions, device)
        results["drawn"][n] = {"seconds": seconds} | difference(losses)
        print(n, results["drawn"][n], flush=True)
    config = configure(
        dataset=arguments.dataset,
        limit=arguments.limit,
        network="resnet9-w16",
        epochs=arguments.epochs,
        warmup=1,
        correction_start=2,
        device=arguments.device,
    )
    data = load_data(config)
    for snapshot in train(config, data):
        losses = torch.from_numpy(snapshot.scaled_loss).to(device)
        results["real"][snapshot.epoch] = difference(losses)
        print(snapshot.epoch, results["real"][snapshot.epoch], flush=True)
    settings = {
        "threads": torch.get_num_threads(),
        "dataset": arguments.dataset,
        "n": data.n,
        "epochs": arguments.epochs,
    }
    finish("clean", measured_on, settings, results, arguments.out)


if __name__ == "__main__":
    main()
