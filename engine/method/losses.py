"""Per-sample losses against soft targets; pure functions of logits and targets.

logits: (B, C) float. targets: (B, C) float, rows sum to 1 (one-hot for hard labels). Each returns
(B,) float; lower is a better fit. All run in float32, also under autocast.
"""

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, softmax


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy: -sum_c target_c log p_c.

    >>> soft_cross_entropy(torch.zeros(1, 2), torch.tensor([[0.5, 0.5]]))
    tensor([0.6931])
    """
    return -(targets * log_softmax(logits.float(), dim=1)).sum(1)


def linear(logits: Tensor, targets: Tensor) -> Tensor:
    """Minus the probability of the target, in [-1, 0]; robust like MAE (reference code)."""
    return -(targets * softmax(logits.float(), dim=1)).sum(1)


def gce(logits: Tensor, targets: Tensor, *, q: float = 0.7) -> Tensor:
    """Generalized cross-entropy: sum_c target_c (1 - p_c^q) / q (Zhang and Sabuncu 2018, eq. 6).

    Goes from cross-entropy (q -> 0) to 1 - p (q = 1).
    """
    # p^q through logarithms: the gradient stays finite where p underflows
    powered = torch.exp(q * log_softmax(logits.float(), dim=1))
    return (targets * (1 - powered)).sum(1) / q


def sce(
    logits: Tensor, targets: Tensor, *, a: float = 0.1, b: float = 1.0, log_zero: float = -4.0
) -> Tensor:
    """Symmetric cross-entropy: a CE + b RCE, RCE = -sum_c p_c log target_c (Wang et al. 2019).

    log_zero replaces log 0 and is the lowest value of log target (their A).
    """
    log_targets = targets.float().log().clamp(min=log_zero)
    reverse = -(softmax(logits.float(), dim=1) * log_targets).sum(1)
    return a * soft_cross_entropy(logits, targets) + b * reverse


def elr(logits: Tensor, targets: Tensor, memory: Tensor, *, strength: float = 3.0) -> Tensor:
    """Cross-entropy + strength log(1 - <p, memory>) (Liu et al. 2020, eq. 6).

    memory: (B, C), the moving average of each sample's own predictions; it receives no gradient.
    """
    probabilities = softmax(logits.float(), dim=1).clamp(1e-4, 1 - 1e-4)  # as in the authors' code
    agreement = (probabilities * memory.detach()).sum(1)
    return soft_cross_entropy(logits, targets) + strength * torch.log(1 - agreement)
