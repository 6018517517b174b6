"""The slow correction of labels: an exponential moving average of the predictions."""

import torch
from torch import Tensor


def one_hot(labels: Tensor, n_classes: int) -> Tensor:
    """(N,) int64 -> (N, C) float32, the soft labels that a run starts from."""
    return torch.nn.functional.one_hot(labels, n_classes).float()


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
