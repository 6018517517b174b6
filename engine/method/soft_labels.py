"""The correction of labels: a moving average, or from the given labels in every epoch."""

import torch
from torch import Tensor


def one_hot(labels: Tensor, n_classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """(N,) int64 -> (N, C) of this type, the soft labels at the start of a run."""
    table = labels.new_zeros(len(labels), n_classes, dtype=dtype)
    table[torch.arange(len(labels), device=labels.device), labels] = 1
    return table


def ema_update(soft: Tensor, probabilities: Tensor, alpha: float) -> Tensor:
    """alpha soft + (1 - alpha) probabilities, as a new tensor.

    soft, probabilities: (N, C) float, rows sum to 1; so do the rows of the result. alpha: in
    [0, 1], the share of the old label that is kept. Raises ValueError. Source: arXiv 2406.16966.

    >>> ema_update(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), 0.75)
    tensor([[0.7500, 0.2500]])
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha = {alpha}: allowed is 0 to 1")
    return alpha * soft + (1 - alpha) * probabilities


def relabel(
    given: Tensor,
    prediction: Tensor,
    confidence: Tensor,
    threshold: float,
    votes: Tensor | None = None,
) -> Tensor:
    """The prediction where it is confident and neighbors vote for it, else the given label.

    Nothing is kept from one epoch to the next, so that a mistake is taken back.

    given, prediction: (N,) int64. confidence: (N,) in [0, 1], the probability of the prediction.
    threshold: what the confidence has to exceed. votes: (N, C), see `neighbor_votes`; None: none
    are asked. Returns (N,) int64. Source: Feng et al. 2022 (SSR), eq. 1, without votes.

    >>> one = torch.tensor([1])
    >>> relabel(one - 1, one, torch.tensor([0.9]), 0.8)
    tensor([1])
    """
    changes = confidence > threshold
    if votes is not None:
        changes &= votes.argmax(1) == prediction
    return torch.where(changes, prediction, given)


def refine(probabilities: Tensor, given: Tensor, clean: Tensor) -> Tensor:
    """P(clean) of the given label for that label, the rest by the predictions.

    probabilities: (N, C) float, rows sum to 1. given: (N,) int64. clean: (N,) in [0, 1], P(clean)
    of the given labels. Returns (N, C), rows sum to 1. Source: Li et al. 2020 (DivideMix),
    label co-refinement; Arazo et al. 2019, dynamic bootstrapping.

    >>> refine(torch.tensor([[0.5, 0.5]]), torch.tensor([1]), torch.tensor([0.5]))
    tensor([[0.2500, 0.7500]])
    """
    clean = clean.to(probabilities.dtype)[:, None]
    return ((1 - clean) * probabilities).scatter_add(1, given[:, None], clean)


def sharpen(probabilities: Tensor, temperature: float) -> Tensor:
    """p^(1/T), scaled to rows that sum to 1: more confident with smaller T.

    Source: Berthelot et al. 2019, eq. 7.

    probabilities: (N, C) float, rows sum to 1. temperature: T in (0, 1]; 1 changes nothing.

    >>> sharpen(torch.tensor([[0.75, 0.25]]), 0.5)
    tensor([[0.9000, 0.1000]])
    """
    powered = probabilities ** (1 / temperature)
    return powered / powered.sum(1, keepdim=True)


def align(probabilities: Tensor, shares: Tensor, goal: Tensor) -> Tensor:
    """Distribution alignment: predictions whose mean over a set is moved toward a goal.

    Each class is multiplied by goal / shares, then rows are scaled to sum to 1 (Berthelot et al.
    2020, section 3.1), which keeps classes from vanishing or dominating. probabilities: (N, C)
    float, rows sum to 1. shares: (C,) the mean prediction over the set; goal: (C,) the class shares
    to align it to; both sum to 1.

    >>> align(torch.tensor([[0.5, 0.5]]), torch.tensor([0.8, 0.2]), torch.tensor([0.5, 0.5]))
    tensor([[0.2000, 0.8000]])
    """
    scaled = probabilities * (goal / shares.clamp(min=1e-6))
    return scaled / scaled.sum(1, keepdim=True)
