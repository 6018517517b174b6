"""The built-in networks, and any network of one's own, freshly initialized."""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from engine.models.layers import Conv, Mean, NormAct

HIDDEN = 256  # units of the network mlp
_building = threading.Lock()


def build(
    factory: Callable[..., nn.Module], shape: tuple[int, int, int], n_classes: int, *, seed: int
) -> nn.Module:
    """A freshly initialized network; the same seed gives the same weights.

    factory: makes it from the numbers of channels and classes, as those below do; shape, (C, H, W)
    of an image, is passed by name. A network that returns logits alone is wrapped, see
    `WithFeatures`. Raises ValueError for one whose outputs do not fit.
    """
    # layers use the process-wide generator: seed a fork of it, one thread at a time
    with _building, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = factory(shape[0], n_classes, shape=shape)
        return network if isinstance(network, Network) else _checked(network, shape, n_classes)


def choose(network: str, shape: tuple[int, int, int]) -> str:
    """The network for images (C, H, W); "auto" is "small" up to 28 pixels, else "resnet9-w16".

    For rows of numbers, which have one pixel, it is "linear".
    """
    if network != "auto":
        return network
    if is_rows(shape):
        return "linear"
    return "small" if max(shape[1:]) <= 28 else "resnet9-w16"


def is_rows(shape: tuple[int, int, int]) -> bool:
    """Whether samples of this shape (C, H, W) are rows of C numbers, not images."""
    return shape[1:] == (1, 1)


class Network(nn.Module):
    """A body that ends in a feature vector, and a linear head."""

    def __init__(self, body: nn.Module, head: nn.Linear):
        super().__init__()
        self.body, self.head = body, head

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, n_classes) and features (B, D) of normalized images (B, C, H, W)."""
        features = self.body(images)
        return self.head(features), features


class WithFeatures(nn.Module):
    """A network that returns logits alone; its features are the input of its last linear layer."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        layers = [name for name, m in network.named_modules() if isinstance(m, nn.Linear)]
        if not layers:
            raise ValueError(
                "it returns no features and has no nn.Linear whose input they could be: return "
                "(logits, features)"
            )
        self.last = layers[-1]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, n_classes) and features (B, D) of normalized images (B, C, H, W)."""
        inputs: list[Tensor] = []
        layer = self.network.get_submodule(self.last)
        hook = layer.register_forward_pre_hook(lambda _, values: inputs.append(values[0]))
        try:
            logits = self.network(images)
        finally:
            hook.remove()
        return logits, inputs[-1].flatten(1)


def _checked(network: nn.Module, shape: tuple[int, int, int], n_classes: int) -> nn.Module:
    """The network, if it returns logits and features; one that returns logits alone is wrapped."""
    if not isinstance(network, nn.Module):
        raise ValueError(f"it makes a {type(network).__name__}: allowed is a torch.nn.Module")
    training, images = network.training, torch.zeros(2, *shape)
    with torch.no_grad():
        outputs = network.eval()(images)
        if isinstance(outputs, Tensor):
            network = WithFeatures(network)
            outputs = network(images)
    shapes = [tuple(getattr(output, "shape", ())) for output in outputs]
    if len(shapes) != 2 or shapes[0] != (2, n_classes) or len(shapes[1]) != 2 or shapes[1][0] != 2:
        raise ValueError(
            f"for two images it returns {shapes}: allowed are logits (2, {n_classes}), alone or "
            "with features (2, D)"
        )
    return network.train(training)


def linear(channels: int, n_classes: int, shape: tuple[int, int, int]) -> Network:
    """Logistic regression: one linear layer, whose input is the features."""
    return Network(nn.Flatten(), nn.Linear(math.prod(shape), n_classes))


def mlp(channels: int, n_classes: int, shape: tuple[int, int, int]) -> Network:
    """Two linear layers with a normalization and ReLU between them; 256 features."""
    hidden = nn.Linear(math.prod(shape), HIDDEN, bias=False)
    body = nn.Sequential(nn.Flatten(), hidden, nn.BatchNorm1d(HIDDEN), nn.ReLU())
    return Network(body, nn.Linear(HIDDEN, n_classes))


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


def resnet9(channels: int, n_classes: int, width: int = 64) -> Network:
    """Nine layers, residual, for 32 x 32, after D. Page's ResNet-9; 8 width features."""
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


def resnet9_w16(channels: int, n_classes: int) -> Network:
    """`resnet9` of a quarter of its width, for a CPU."""
    return resnet9(channels, n_classes, 16)


def resnet18(channels: int, n_classes: int) -> Network:
    """`resnet` of depth 18."""
    return resnet(18, channels, n_classes)


def resnet34(channels: int, n_classes: int) -> Network:
    """`resnet` of depth 34."""
    return resnet(34, channels, n_classes)


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
