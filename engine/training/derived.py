"""The snapshot of an epoch of any training loop, derived from what the loop has measured."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from engine import metrics
from engine.hardware import threads
from engine.method.mixing import mixing_weights
from engine.method.mixture import fit_clean_probability, normalize_losses
from engine.training.noisy_labels import NoisyLabels
from engine.training.snapshot import Snapshot


@dataclass(frozen=True, eq=False)
class Measured:
    """What a loop has measured in an epoch. N samples, C classes, K neighbors, D features."""

    losses: np.ndarray  # (N,) float, of the labels as they are now
    probabilities: np.ndarray | None = None  # (N, C) float, rows sum to 1
    features: np.ndarray | None = None  # (N, D) float
    neighbors: np.ndarray | None = None  # (N, K) int, what each sample was mixed with
    distances: np.ndarray | None = None  # (N, K) float, nan for random partners
    weights: np.ndarray | None = None  # (N, K+1) float, own weight first, rows sum to 1
    clean: np.ndarray | None = None  # (N,) float in [0, 1]
    soft: np.ndarray | None = None  # (N, C) float, the labels after this epoch, rows sum to 1


def derive(
    epoch: int,
    measured: Measured,
    labels: NoisyLabels,
    n_classes: int,
    *,
    before: Snapshot | None,
    settings: dict[str, Any],
    own_metrics: dict[str, float | None],
    seconds: dict[str, float],
) -> Snapshot:
    """The snapshot of an epoch, and what the engine derives: mixture, P(clean), weights, metrics.

    before: of the epoch before, whose P(clean) weights neighbors where the loop has no weights.
    The soft labels are the given ones, one-hot, where the loop corrects none. own_metrics: of the
    loop; they take precedence.
    """
    n = len(labels.given)
    with threads(1):  # others would be waited for longer than these sums take
        scaled = normalize_losses(torch.from_numpy(measured.losses))
        fit = fit_clean_probability(scaled)
    clean = fit.clean.numpy() if measured.clean is None else measured.clean
    soft = measured.soft
    if soft is None:
        soft = np.zeros((n, n_classes), np.float32)
        soft[np.arange(n), labels.given] = 1
    prediction = confidence = None
    if measured.probabilities is not None:
        prediction = measured.probabilities.argmax(1).astype(np.int32)
        confidence = measured.probabilities.max(1)
    neighbors = np.empty((n, 0), np.int32) if measured.neighbors is None else measured.neighbors
    derived = metrics.label_metrics(labels.given, labels.true, prediction, soft, clean)
    return Snapshot(
        epoch=epoch,
        settings=settings,
        phase="main",
        metrics=derived | own_metrics,
        mixture=fit.parameters(),
        seconds=seconds,
        loss=measured.losses,
        scaled_loss=scaled.numpy(),
        clean=clean,
        prediction=prediction,
        confidence=confidence,
        soft=soft,
        neighbors=neighbors,
        distances=_distances(measured, neighbors),
        weights=_weights(measured, neighbors, before),
        panel_features=None if measured.features is None else measured.features[labels.panel],
        votes=None,
    )


def _distances(measured: Measured, neighbors: np.ndarray) -> np.ndarray:
    """Distances (N, K) in feature space: those measured, else by the features."""
    if measured.distances is not None:
        return measured.distances
    if not neighbors.shape[1]:
        return neighbors.astype(np.float32)
    assert measured.features is not None
    rank = range(neighbors.shape[1])
    return np.stack(
        [
            np.linalg.norm(measured.features - measured.features[neighbors[:, k]], axis=1)
            for k in rank
        ],
        axis=1,
    )


def _weights(measured: Measured, neighbors: np.ndarray, before: Snapshot | None) -> np.ndarray:
    """Weights (N, K+1): those measured, else MixNN's by the P(clean) of the epoch before."""
    if measured.weights is not None:
        return measured.weights
    n, k = neighbors.shape
    if not k:
        return np.ones((n, 1), np.float32)
    clean = np.ones(n, np.float32) if before is None else before.clean
    return mixing_weights(torch.from_numpy(clean), torch.from_numpy(neighbors).long()).numpy()
