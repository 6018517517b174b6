"""The same network, faster: compiled, and as a copy for evaluation."""

import copy
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from engine.models.layers import NormAct

# Images per evaluation batch: so few that they fit into a CPU's cache, so many that they fill a GPU
EVALUATION_BATCH = {"cpu": 128, "cuda": 2048}


def compiled(network: nn.Module, mode: str) -> nn.Module:
    """The network by `torch.compile`, which compiles at the first batch of each shape.

    mode: one of torch's, or "none" for the network itself. Run it inside `hardware.session`,
    which raises torch's limit on compiled shapes.
    """
    if mode == "none":
        return network
    return cast(nn.Module, torch.compile(network, mode=mode, dynamic=False))


def for_evaluation(
    network: nn.Module, device: torch.device, precision: str, mode: str = "none"
) -> nn.Module:
    """The network with its current weights, in the fastest form for evaluation.

    On a GPU, in bf16, or compiled, it is a copy whose batch normalizations are folded into the
    convolutions before them, which is faster (assets/results/precision.json, on a CPU) and equal up
    to rounding. Otherwise it is the network itself, in evaluation mode. Folded are the batch
    normalizations of the built-in networks, each the module after its convolution. mode: for
    `compiled`; full batches use the compiled code, which the copies of later epochs reuse. A GPU
    has enough to do in a batch without CUDA graphs, which would be recorded again for each copy.
    """
    network.eval()
    if device.type == "cpu" and precision != "bf16" and mode == "none":
        return network
    folded = copy.deepcopy(network)
    # torch.fx would find the pairs automatically, but not while another thread runs a network
    for module in list(folded.modules()):
        for (first, conv), (second, norm) in pairwise(list(module.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, NormAct):
                setattr(module, first, fuse_conv_bn_eval(conv, norm))
                setattr(module, second, norm.after)
    if mode == "none":
        return folded
    return _FullBatches(folded, mode if device.type == "cpu" else "default", device)


class _FullBatches(nn.Module):
    """A network compiled for batches of EVALUATION_BATCH; smaller ones run uncompiled."""

    def __init__(self, network: nn.Module, mode: str, device: torch.device):
        super().__init__()
        self.network, self.compiled = network, compiled(network, mode)
        self.size = EVALUATION_BATCH[device.type]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return (self.compiled if len(images) == self.size else self.network)(images)
