"""Optimizers, and the learning rate as a function of the epoch."""

import math
from collections.abc import Iterable

import torch


def build(
    name: str,
    parameters: Iterable[torch.nn.Parameter],
    *,
    momentum: float,
    weight_decay: float,
    nesterov: bool = False,
) -> torch.optim.Optimizer:
    """An optimizer whose learning rate is set before every step. Raises ValueError."""
    if name == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=0.0,
            momentum=momentum,
            weight_decay=weight_decay,
            nesterov=nesterov,
            fused=True,
        )
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr=0.0, weight_decay=weight_decay, fused=True)
    raise ValueError(f"optimizer = {name!r}: allowed are sgd, adamw")


def learning_rate(
    schedule: str, epoch: float, *, epochs: int, high: float, low: float, period: int
) -> float:
    """The learning rate at a point of the run; without a state, so that resume and fork need none.

    epoch: from 0, with the fraction of the epoch that is done. epochs: length of the run. high,
    low: largest and smallest rate. period: epochs of a cycle of "warm-restarts".
    "constant" stays at high; "cosine" falls from high to low over the run; "one-cycle" rises for
    the first 30 % and then falls; "warm-restarts" falls again in each cycle, in steps of whole
    epochs (Loshchilov and Hutter 2017; the reference steps so). Raises ValueError.
    """
    if schedule == "constant":
        return high
    if schedule == "cosine":
        return _fall(epoch / epochs, high, low)
    if schedule == "one-cycle":
        rise = 0.3 * epochs
        if epoch < rise:
            return _fall(1 - epoch / rise, high, low)
        return _fall((epoch - rise) / (epochs - rise), high, low)
    if schedule == "warm-restarts":
        return _fall((math.floor(epoch) % period) / period, high, low)
    raise ValueError(
        f"schedule = {schedule!r}: allowed are constant, cosine, one-cycle, warm-restarts"
    )


def _fall(share: float, high: float, low: float) -> float:
    """Half a cosine from high (share 0) to low (share 1)."""
    return low + (high - low) * (1 + math.cos(math.pi * min(share, 1.0))) / 2
