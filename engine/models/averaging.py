"""The exponential moving average of a network's weights."""

import copy
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """The moving average of a network's weights and running statistics, in evaluation mode.

    The network's tensors may only change in place, as by optimizers and `load_state_dict`.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.network = copy.deepcopy(network).eval()
        self.decay = decay  # between 0 and 1
        pairs = list(
            zip(self.network.state_dict().values(), network.state_dict().values(), strict=True)
        )
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self._means, self._values = map(list, zip(*floats, strict=True))
        # the batches that batch normalization has counted; evaluation does not use them
        self._counts = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, n_steps: int) -> None:
        """Add the network's current weights to the average, after its n_steps-th optimizer step."""
        # a young average forgets its random initialization faster
        decay = min(self.decay, n_steps / (n_steps + 10))
        get_ema_multi_avg_fn(decay)(self._means, self._values, n_steps)

    @torch.no_grad()
    def state_dict(self) -> dict[str, Any]:
        """The state of the averaged network, with the network's own counters."""
        for mean, value in self._counts:
            mean.copy_(value)
        return self.network.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.network.load_state_dict(state)
