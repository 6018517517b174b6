"""What a linear classifier says of each label that it has not seen."""

import torch
from torch import Tensor

# strengths of the regularization that are tried, in units of N for features with variance 1
STRENGTHS = tuple(10 ** (power / 2) for power in range(-5, 5))
SMALLEST = 1e-3  # probability


@torch.no_grad()
def leave_one_out(features: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """P(label | features) (N, C) of each sample by the labels of all others, rows sum to 1.

    Ridge regression of the one-hot labels, whose predictions for samples that are left out follow
    in closed form from one fit. Its strength has the least squared error of these predictions.
    Unlike the probabilities of a network that was trained on a label, these cannot repeat it.

    features: (N, D) float, columns with mean 0 and about the same variance. labels: (N,) int64 in
    0..C-1. Source: Allen 1974 (PRESS); Hastie, Tibshirani and Friedman 2009, section 7.10.

    >>> features = torch.tensor([[-1.0], [-1.0], [-1.0], [1.0], [1.0], [1.0]])
    >>> leave_one_out(features, torch.tensor([0, 0, 1, 1, 1, 1]), 2)[2]  # labeled as the others are
    tensor([0.8300, 0.1700])
    """
    n = len(features)
    targets = torch.nn.functional.one_hot(labels, n_classes).to(features.dtype)
    mean = targets.mean(0)
    targets = targets - mean
    values, vectors = torch.linalg.eigh((features.T @ features).double())
    rotated = features @ vectors.to(features.dtype)
    products = rotated.T @ targets
    best, least = targets, torch.inf
    for strength in STRENGTHS:
        scaled = rotated / (values.clamp(min=0) + strength * n).to(features.dtype)
        leverage = (scaled * rotated).sum(1, keepdim=True) + 1 / n
        left_out = (scaled @ products - leverage * targets) / (1 - leverage).clamp(min=1e-6)
        error = float((left_out - targets).square().mean())
        if error < least:
            best, least = left_out, error
    probabilities = (best + mean).clamp(min=SMALLEST)
    return probabilities / probabilities.sum(1, keepdim=True)
