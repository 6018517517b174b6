"""Networks: normalized images (B, C, H, W) -> (logits (B, n_classes), features (B, D))."""

import copy
import threading
from collections import OrderedDict
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

# On CPUs with AMX images as narrow as that stand side by side in strips of so many, see `_Conv`.
NARROW = 8 if torch.cpu.get_capabilities().get("amx_bf16") else 0
STRIP = 32

_building = threading.Lock()


def build(network: str, shape: tuple[int, int, int], n_classes: int, *, seed: int) -> nn.Module:
    """A freshly initialized network; the same seed gives the same weights.

    network: one of NETWORKS. shape: (C, H, W) of an image. Raises ValueError.
    """
    if network not in NETWORKS:
        raise ValueError(f"network = {network!r}: allowed are auto, {', '.join(NETWORKS)}")
    # layers draw from the process-wide generator: seed a copy of it, one thread at a time
    with _building, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[network](shape[0], n_classes)


def choose(network: str, shape: tuple[int, int, int]) -> str:
    """What "auto" means for images of shape (C, H, W): "small" up to 28 pixels, else "fast"."""
    if network != "auto":
        return network
    return "small" if max(shape[1:]) <= 28 else "fast"


class Network(nn.Module):
    """A body that ends in a feature vector, and a linear head."""

    def __init__(self, body: nn.Module, head: nn.Linear):
        super().__init__()
        self.body, self.head = body, head

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(images)
        return self.head(features), features


def small(channels: int, n_classes: int) -> Network:
    """Four convolutions for images of 8 x 8 to 28 x 28; 128 features."""
    body = nn.Sequential(
        _conv(channels, 32), _conv(32, 32, pool=True), _pool(),
        _conv(32, 64, pool=True), _pool(), _conv(64, 128), _Mean(),
    )  # fmt: skip
    return Network(body, nn.Linear(128, n_classes))


def fast(channels: int, n_classes: int, width: int = 16) -> Network:
    """Nine layers, residual, for 32 x 32, after D. Page's ResNet-9; 8 width features.

    Width 16 is for a CPU; ResNet-9 itself has 64.
    """
    body = nn.Sequential(
        _conv(channels, width),
        _conv(width, 2 * width, pool=True), _pool(), _Residual(2 * width),
        _conv(2 * width, 4 * width, pool=True), _pool(),
        _conv(4 * width, 8 * width, pool=True), _pool(), _Residual(8 * width), _Mean(),
    )  # fmt: skip
    return Network(body, nn.Linear(8 * width, n_classes))


def for_evaluation(network: nn.Module, device: torch.device, precision: str) -> nn.Module:
    """The network to evaluate with as it is now, as fast as it gets.

    On a CPU with bf16 it is a copy whose batch normalizations are part of the convolutions before
    them, which is faster (assets/results/precision.json) and says the same up to rounding.
    Elsewhere it is the network itself, in evaluation mode. Every batch normalization of NETWORKS is
    the module after its convolution.
    """
    network.eval()
    if device.type != "cpu" or precision != "bf16":
        return network
    folded = copy.deepcopy(network)
    # torch.fx would find the pairs by itself, but not while another thread runs a network
    for module in list(folded.modules()):
        for (first, conv), (second, norm) in pairwise(list(module.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, first, fuse_conv_bn_eval(conv, norm))
                setattr(module, second, nn.Identity())
    return folded


def resnet(depth: int, channels: int, n_classes: int) -> Network:
    """torchvision's ResNet with the 3 x 3 stem for 32 x 32 (He et al. 2016); 512 features."""
    from torchvision.models import resnet as library  # late: it takes a second

    whole = getattr(library, f"resnet{depth}")(num_classes=n_classes)
    whole.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(whole.conv1.weight, mode="fan_out", nonlinearity="relu")
    for module in whole.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            module.__class__ = _Conv
    layers = dict(whole.named_children(), avgpool=_Mean())
    head = layers.pop("fc")
    del layers["maxpool"]
    return Network(nn.Sequential(OrderedDict(layers)), head)


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(_conv(width, width), _conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class _Conv(nn.Conv2d):
    """A 3 x 3 convolution with padding 1 that is fast on narrow images in bf16 on a CPU as well.

    The tiles of AMX take 16 or 32 pixels of a row at once, and stand mostly empty where a row has
    4 or 8. So images are set side by side, with zeros between them that are as good as the padding,
    and the outcome is cut apart again: the same sums, of 512 channels on 4 x 4 pixels in a third of
    the time (tests/benchmarks/bench_precision.py measures whole networks).
    """

    def forward(self, images: Tensor) -> Tensor:
        stride, columns = self.stride[1], images.shape[3]
        width, gap = -(-columns // stride), stride - columns % stride
        if images.dtype != torch.bfloat16 or images.device.type != "cpu" or width > NARROW:
            return super().forward(images)
        n = len(images)
        n_strips = -(-n // STRIP)
        per_strip = -(-n // n_strips)
        blank = n_strips * per_strip - n
        if blank:
            images = functional.pad(images, (0, 0, 0, 0, 0, 0, 0, blank))
        # (strip, image, row, column, channel) -> (strip, row, image, column, channel)
        rows = images.permute(0, 2, 3, 1).unflatten(0, (n_strips, per_strip)).transpose(1, 2)
        strips = functional.pad(rows, (0, 0, 0, gap)).flatten(2, 3)
        strips = super().forward(strips.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        rows = strips.unflatten(2, (per_strip, -1))[:, :, :, :width]
        return rows.transpose(1, 2).flatten(0, 1)[:n].contiguous().permute(0, 3, 1, 2)


class _Mean(nn.Module):
    """Features (B, C), the mean over the pixels of (B, C, H, W).

    Unlike that of `nn.AdaptiveAvgPool2d`, its gradient is laid out as the images are, so that what
    comes before need not change it over.
    """

    def forward(self, images: Tensor) -> Tensor:
        return images.permute(0, 2, 3, 1).flatten(1, 2).mean(1)


def _conv(inputs: int, outputs: int, *, pool: bool = False) -> nn.Module:
    """pool: `_pool` follows, and brings the ReLU."""
    layers = [_Conv(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([] if pool else [nn.ReLU(inplace=True)]))


def _pool() -> nn.Module:
    """The same as ReLU and pooling, on a quarter of the pixels."""
    return nn.Sequential(nn.MaxPool2d(2), nn.ReLU(inplace=True))


NETWORKS = {
    "small": small,
    "fast": fast,
    "resnet9": partial(fast, width=64),
    "resnet18": partial(resnet, 18),
    "resnet34": partial(resnet, 34),
}
