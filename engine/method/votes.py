"""The vote of the nearest neighbors' labels on the label of each sample."""

import torch
from torch import Tensor

CHUNK_ENTRIES = 2**25  # labels of neighbors in memory at a time: 256 MB


def neighbor_votes(
    labels: Tensor, neighbors: Tensor, n_classes: int, *, balanced: bool = True
) -> Tensor:
    """The share of each class among the labels of a sample's neighbors.

    labels: (N,) int64 in 0..C-1. neighbors: (M, k) int64 rows of labels. balanced: divide
    the votes for a class by how often it occurs, so that frequent classes do not outvote rare ones.
    Returns (M, C) float32, rows sum to 1. Source: Feng et al. 2022 (SSR), eq. 2.

    >>> neighbor_votes(torch.tensor([0, 0, 0, 1]), torch.tensor([[1, 3], [2, 3]]), 2)
    tensor([[0.2500, 0.7500],
            [0.2500, 0.7500]])
    """
    n, k = neighbors.shape
    votes = torch.zeros(n, n_classes, device=labels.device)
    size = max(1, CHUNK_ENTRIES // k)
    for chunk, near in zip(votes.split(size), neighbors.split(size), strict=True):
        chunk.scatter_add_(1, labels[near], torch.ones_like(near, dtype=votes.dtype))
    if balanced:
        votes /= labels.bincount(minlength=n_classes).clamp(min=1)
    return votes / votes.sum(1, keepdim=True)


def vote_for(labels: Tensor, votes: Tensor) -> Tensor:
    """The vote for each label (N,) relative to the largest vote on that sample, in [0, 1].

    votes: (N, C) as of `neighbor_votes`.
    """
    return votes.gather(1, labels[:, None])[:, 0] / votes.amax(1)


def clean_by_mixture(losses: Tensor, mixture: Tensor) -> Tensor:
    """P(clean) (N,) as the mixture fitted to the losses has it."""
    return mixture


def clean_by_vote(losses: Tensor, vote: Tensor) -> Tensor:
    """P(clean) (N,) as the neighbors' vote has it."""
    return vote


def clean_by_both(losses: Tensor, mixture: Tensor, vote: Tensor) -> Tensor:
    """P(clean) (N,): the mixture's times the vote."""
    return mixture * vote
