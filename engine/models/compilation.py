"""The same network, faster: compiled, and as a copy to evaluate with."""

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from engine.models.layers import NormAct

# Images looked at together: on a CPU so few that they stay in its cache, on a GPU enough to fill it
EVALUATION_BATCH = {"cpu": 128, "cuda": 2048}


def compiled(network: nn.Module, mode: str) -> nn.Module:
    """The network by `torch.compile`, which compiles when it first meets a shape of images.

    mode: one of torch's, or "none" for the network itself. Run it inside `device.session`, which
    raises torch's limit on compiled shapes.
    """
    if mode == "none":
        return network
    return torch.compile(network, mode=mode, dynamic=False)


def for_evaluation(
    network: nn.Module, device: torch.device, precision: str, mode: str = "none"
) -> nn.Module:
    """The network to evaluate with as it is now, as fast as it gets.

    On a CPU with bf16, or compiled, it is a copy whose batch normalizations are part of the
    convolutions before them, which is faster (assets/results/precision.json) and says the same up
    to rounding. Elsewhere it is the network itself, in evaluation mode. Every batch normalization
    of NETWORKS is the module after its convolution. mode: for `compiled`; on a CPU whole
    batches go through what was compiled, which the copies of later epochs find again.
    """
    network.eval()
    if device.type != "cpu" or (precision != "bf16" and mode == "none"):
        return network
    folded = copy.deepcopy(network)
    # torch.fx would find the pairs by itself, but not while another thread runs a network
    for module in list(folded.modules()):
        for (first, conv), (second, norm) in pairwise(list(module.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, NormAct):
                setattr(module, first, fuse_conv_bn_eval(conv, norm))
                setattr(module, second, norm.after)
    return folded if mode == "none" else _WholeBatches(folded, mode)


class _WholeBatches(nn.Module):
    """A network, compiled for batches of EVALUATION_BATCH; smaller ones are not worth compiling."""

    def __init__(self, network: nn.Module, mode: str):
        super().__init__()
        self.network, self.compiled = network, compiled(network, mode)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        whole = len(images) == EVALUATION_BATCH["cpu"]
        return (self.compiled if whole else self.network)(images)
