"""Synthetic samples: P(clean) and neighbors to weights; weights to mixed images and labels."""

import numpy as np
import torch
from torch import Tensor

EPSILON = 1e-10  # the reference code's; a sample without any weight keeps itself


def mixing_weights(clean: Tensor, neighbors: Tensor, shares: Tensor | None = None) -> Tensor:
    """Weights of a sample and its neighbors, by their probabilities of being clean.

    clean: (N,) float in [0, 1], 1 = certainly clean. neighbors: (N, K) int64 rows of clean.
    shares: (N, K+1) in [0, 1], by which the probabilities are multiplied first; by default 1.
    Returns (N, K+1) in clean's type, own weight first; rows sum to 1. With
    denom = w_i + sum_k w_k + 1e-10 they are (w_i + 1e-10) / denom and w_k / denom.
    Source: arXiv 2406.16966, and MacLLL/MixNN for the 1e-10.

    >>> mixing_weights(torch.tensor([0.25, 0.75]), torch.tensor([[1], [0]]))
    tensor([[0.2500, 0.7500],
            [0.7500, 0.2500]])
    """
    own = clean[:, None]
    neighboring = clean[neighbors]
    if shares is not None:
        own, neighboring = own * shares[:, :1], neighboring * shares[:, 1:]
    # own + epsilon first: in float32 a tiny epsilon added to a sum near 1 would be lost
    total = (own + EPSILON) + neighboring.sum(1, keepdim=True)
    return torch.cat([own + EPSILON, neighboring], dim=1) / total


def equal_weights(clean: Tensor, neighbors: Tensor, shares: Tensor | None = None) -> Tensor:
    """`mixing_weights` of samples that are all equally likely to be clean."""
    return mixing_weights(torch.ones_like(clean), neighbors, shares)


def weighted_sum(parts: Tensor, weights: Tensor) -> Tensor:
    """(B, K+1, ...) of any type and (B, K+1) float -> (B, ...) in weights' type or a wider one.

    The sum over the K+1 parts by their weights, one part after the other.
    """
    weights = weights[(...,) + (None,) * (parts.ndim - 2)]
    total = parts[:, 0] * weights[:, 0]
    for part in range(1, parts.shape[1]):
        total += parts[:, part] * weights[:, part]
    return total


def mix(values: Tensor, neighbors: Tensor, weights: Tensor) -> Tensor:
    """Each row of values mixed with its neighbors' unmixed rows.

    values: (N, ...) float (images, soft labels). neighbors: (N, K) int64. weights: (N, K+1), own
    weight first. Returns (N, ...).
    """
    own = torch.arange(len(values), device=values.device)[:, None]
    return weighted_sum(values[torch.cat([own, neighbors], dim=1)], weights)


def mixup_partners(n: int, beta: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Random partners in a batch of n and one Beta(beta, beta) weight for all (mixup).

    Returns partners (n, 1) int64, positions in the batch, and weights (n, 2), own weight first, on
    the CPU. Source: Zhang et al. 2018.
    """
    own = float(rng.beta(beta, beta))
    partners = torch.from_numpy(rng.permutation(n))
    weights = torch.tensor([own, 1 - own], dtype=torch.float32)
    return partners[:, None], weights.expand(n, 2)
