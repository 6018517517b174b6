"""The record of one epoch: NumPy arrays and numbers, copies of their own."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One epoch. N samples, C classes, K neighbors, P panel samples, D features.

    `neighbors`, `distances` and `weights` are those that this epoch mixed with while it trained;
    everything else is the state after it. So weights follow from the P(clean) of the epoch before,
    and training used the soft labels of the epoch before, mixed with these weights.
    """

    epoch: int  # from 0
    settings: dict[str, Any]  # values of the LIVE settings that this epoch used
    phase: str  # "warmup", "early" (before correction) or "main"
    metrics: dict[str, float | None]  # None: nothing to count, e.g. truth unknown
    mixture: dict[str, Any]  # means, stds, weights (2 each), converged, n_iter, warning
    seconds: dict[str, float]  # per stage

    loss: np.ndarray  # (N,) float32, cross-entropy against the current hard label
    scaled_loss: np.ndarray  # (N,) float32 in [0, 1], the mixture is fitted on it
    clean: np.ndarray  # (N,) float32 in [0, 1], 1 = current label surely clean
    # (N,) int32, the most probable class, and (N,) float32 in [0, 1], its probability; these and
    # the features are None where a loop of one's own does not have them
    prediction: np.ndarray | None
    confidence: np.ndarray | None
    soft: np.ndarray  # (N, C) float32 (float16 if large), rows sum to 1; argmax: corrected label
    neighbors: np.ndarray  # (N, K) int32; K is 0 where the epoch did not mix
    distances: np.ndarray  # (N, K) float32, Euclidean in feature space; nan for random partners
    weights: np.ndarray  # (N, K+1) float32, own weight first, rows sum to 1
    panel_features: np.ndarray | None  # (P, D) float32, of the samples of NoisyLabels.panel
    # (N, C) uint8, how many of the nearest neighbors among all samples were given each class, or
    # 255 times the linear classifier's probability (setting vote_from); None once labels are
    # corrected, and for neighbors where the panel holds all samples
    votes: np.ndarray | None
