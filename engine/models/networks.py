"""The networks by name, freshly initialized."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from engine.models.layers import Conv, Mean, NormAct

_building = threading.Lock()


def build(network: str, shape: tuple[int, int, int], n_classes: int, *, seed: int) -> nn.Module:
    """A freshly initialized network; the same seed gives the same weights.

    network: one of NETWORKS. shape: (C, H, W) of an image. Raises ValueError.
    """
    if network not in NETWORKS:
        raise ValueError(f"network = {network!r}: allowed are auto, {', '.join(NETWORKS)}")
    # layers use the process-wide generator: seed a fork of it, one thread at a time
    with _building, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[network](shape[0], n_classes)


def choose(network: str, shape: tuple[int, int, int]) -> str:
    """The network for images (C, H, W); "auto" is "small" up to 28 pixels, else "resnet9-w16"."""
    if network != "auto":
        return network
    return "small" if max(shape[1:]) <= 28 else "resnet9-w16"


class Network(nn.Module):
    """A body that ends in a feature vector, and a linear head."""

    def __init__(self, body: nn.Module, head: nn.Linear):
        super().__init__()
        self.body, self.head = body, head

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, n_classes) and features (B, D) of normalized images (B, C, H, W)."""
        features = self.body(images)
        return self.head(features), features


def small(channels: int, n_classes: int) -> Network:
    """Four convolutions for images of 8 x 8 to 28 x 28; 128 features.

    As in `resnet9`, the Identity keeps the indices that layers have in stored networks.
    """
    body = nn.Sequential(
        _conv(channels, 32),
        _conv(32, 32, pool=True),
        nn.Identity(),
        _conv(32, 64, pool=True),
        nn.Identity(),
        _conv(64, 128),
        Mean(),
    )
    return Network(body, nn.Linear(128, n_classes))


def resnet9(channels: int, n_classes: int, width: int = 16) -> Network:
    """Nine layers, residual, for 32 x 32, after D. Page's ResNet-9; 8 width features.

    Width 16 is for a CPU; ResNet-9 itself has 64.
    """
    body = nn.Sequential(
        _conv(channels, width),
        _conv(width, 2 * width, pool=True),
        nn.Identity(),
        _Residual(2 * width),
        _conv(2 * width, 4 * width, pool=True),
        nn.Identity(),
        _conv(4 * width, 8 * width, pool=True),
        nn.Identity(),
        _Residual(8 * width),
        Mean(),
    )
    return Network(body, nn.Linear(8 * width, n_classes))


def resnet(depth: int, channels: int, n_classes: int) -> Network:
    """torchvision's ResNet with the 3 x 3 stem for 32 x 32 (He et al. 2016); 512 features."""
    from torchvision.models import resnet as library  # late: importing it takes a second

    network = getattr(library, f"resnet{depth}")(num_classes=n_classes, norm_layer=NormAct)
    network.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            module.__class__ = Conv
    layers = dict(network.named_children(), avgpool=Mean())
    head = layers.pop("fc")
    del layers["maxpool"]
    return Network(nn.Sequential(OrderedDict(layers)), head)


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(_conv(width, width), _conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def _conv(inputs: int, outputs: int, *, pool: bool = False) -> nn.Module:
    conv = Conv(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(conv, NormAct(outputs, relu=True, pool=pool))


NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "small": small,
    "resnet9-w16": resnet9,
    "resnet9": partial(resnet9, width=64),
    "resnet18": partial(resnet, 18),
    "resnet34": partial(resnet, 34),
}
