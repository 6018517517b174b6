"""Layers made for speed say what the library's say."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import max_pool2d

from engine.hardware import can_compile
from engine.models import layers
from engine.models.layers import NormAct


def traced(layer: nn.Module) -> nn.Module:
    """As in a compiled step, without the code that a compiler would make of it."""
    torch._dynamo.reset()
    return torch.compile(layer, backend="eager", dynamic=False)


def trained(forward, layer: NormAct, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """What one forward and one backward pass leave behind."""
    images = images.detach().clone().requires_grad_()
    out = forward(images)
    pull = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    out.backward(pull.to(out.dtype))
    left = {name: value.clone() for name, value in layer.state_dict().items()}
    gradients = {name: p.grad for name, p in layer.named_parameters()}
    return dict(out=out, images=images.grad, **left, **{f"d {k}": v for k, v in gradients.items()})


def library(layer: NormAct):
    """Its layers in the order of the textbook: normalization, ReLU, pooling."""
    plain = nn.BatchNorm2d(layer.num_features).to(layer.weight.dtype)
    plain.load_state_dict(layer.state_dict())

    def forward(images: torch.Tensor) -> torch.Tensor:
        out = plain(images)
        out = torch.relu(out) if layer.relu else out
        return max_pool2d(out, 2) if layer.pool else out

    return forward, plain


def varied(relu: bool, pool: bool, *, channels: int = 6) -> NormAct:
    layer = NormAct(channels, relu=relu, pool=pool)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # scales of both signs, and means as they are in the midst of a run
        layer.weight.copy_(torch.randn(channels, generator=generator))
        layer.bias.copy_(torch.randn(channels, generator=generator) / 2)
        layer.running_mean.copy_(torch.randn(channels, generator=generator))
    return layer


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("size", [(4, 6), (5, 3)])  # an odd one is not fused where it is pooled
@pytest.mark.parametrize("compiled", [False, True])
def test_in_double_precision_it_is_the_library(relu, pool, size, compiled):
    layer = varied(relu, pool).double()
    generator = torch.Generator().manual_seed(2)
    # rounded, so that some of the four pixels that are pooled are equal; rounding up is no zero
    images = torch.randn(7, 6, *size, generator=generator, dtype=torch.float64)
    images = (2 * images).round() + 10
    forward, plain = library(layer)
    expected = trained(forward, plain, images)
    found = trained(traced(layer) if compiled else layer, layer, images)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-9, msg=name)


def test_far_from_zero_the_variance_keeps_its_digits():
    """A difference of two sums of squares would have lost them, were it not for the shift."""
    layer = NormAct(2)
    layer.running_mean.fill_(1000.0)
    images = 1000 + torch.randn(64, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = (
        images.double() - images.double().mean((0, 2, 3), keepdim=True)
    ) / images.double().std((0, 2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(traced(layer)(images).double(), expected, atol=1e-3, rtol=1e-3)


def test_a_channel_without_variance_is_finite_and_without_gradient():
    layer = NormAct(3, relu=True)
    found = trained(traced(layer), layer, torch.full((4, 3, 2, 2), 3.0))
    assert all(value.isfinite().all() for value in found.values())
    torch.testing.assert_close(found["images"].sum(), torch.tensor(0.0), atol=1e-2, rtol=0)


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="torch.compile lacks something, see can_compile")
def test_what_the_compiler_makes_of_it_is_as_near_to_float32_as_the_library_in_bf16():
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        varied(True, True, channels=16),
        nn.Conv2d(16, 16, 3, padding=1, bias=False),
        varied(True, False, channels=16),
    ).to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(32, 3, 16, 16, generator=generator).to(memory_format=torch.channels_last)
    pull = torch.randn(32, 16, 8, 8, generator=generator).to(memory_format=torch.channels_last)

    def left_by(bf16: bool, wrap) -> dict[str, torch.Tensor]:
        trained = copy.deepcopy(network)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = wrap(trained)(images).float()
        (out * pull).mean().backward()
        gradients = {f"d {name}": p.grad for name, p in trained.named_parameters()}
        moved = {name: b for name, b in trained.named_buffers() if b.is_floating_point()}
        return dict(out=out.detach(), **moved, **gradients)

    torch._dynamo.reset()
    exact, plain = left_by(False, lambda same: same), left_by(True, lambda same: same)
    quick = left_by(True, lambda same: torch.compile(same, dynamic=False))
    for name, value in exact.items():
        apart, library = (
            float((other[name] - value).norm() / value.norm()) for other in (quick, plain)
        )
        assert apart <= 1.5 * library + 1e-3, f"{name}: {apart}, the library {library}"


@pytest.mark.parametrize("n", [1, 31, 33, 64])
@pytest.mark.parametrize(("width", "stride"), [(4, 1), (8, 1), (8, 2), (16, 2), (7, 2), (5, 1)])
def test_convolution_in_strips_is_the_plain_one(n, width, stride, monkeypatch):
    generator = torch.Generator().manual_seed(n)
    conv = layers.Conv(6, 10, 3, stride=stride, padding=1, bias=False).bfloat16()
    images = torch.randn(n, 6, 5, width, generator=generator).bfloat16().requires_grad_()
    gradient = None
    outcomes = []
    for narrow in (8, 0):  # in strips, and never
        monkeypatch.setattr(layers, "NARROW", narrow)
        out = conv(images)
        if gradient is None:
            gradient = torch.randn(out.shape, generator=generator).bfloat16()
        outcomes.append((out, *torch.autograd.grad(out, (images, conv.weight), gradient)))
    assert out.shape == (n, 10, -(-5 // stride), -(-width // stride))
    images = images.detach().float().requires_grad_()
    conv = conv.float()
    out = conv(images)
    exact = out, *torch.autograd.grad(out, (images, conv.weight), gradient.float())
    for value, strips, plain in zip(exact, *outcomes, strict=True):
        # some CPUs sum the library's gradient of the weights in bf16, image by image
        value, strips, plain = value.detach(), strips.detach(), plain.detach()
        apart, library = (float((o - value).norm() / value.norm()) for o in (strips, plain))
        assert apart <= 1.5 * library + 1e-3


@pytest.mark.parametrize("n", [64, 63])
def test_images_of_a_strip_do_not_see_each_other(n, monkeypatch):
    monkeypatch.setattr(layers, "NARROW", 8)
    conv = layers.Conv(3, 4, 3, padding=1, bias=False).bfloat16()
    images = torch.zeros(n, 3, 4, 4, dtype=torch.bfloat16)
    images[5] = 1
    with torch.no_grad():
        out = conv(images)
    assert out[5].abs().min() > 0
    assert out[torch.arange(n) != 5].abs().max() == 0


def test_the_mean_over_pixels_is_the_library_s():
    generator = torch.Generator().manual_seed(0)
    ours = torch.randn(8, 5, 6, 6, generator=generator).requires_grad_()
    library = ours.detach().clone().requires_grad_()
    a = layers.Mean()(ours)
    b = torch.nn.functional.adaptive_avg_pool2d(library, 1).flatten(1)
    torch.testing.assert_close(a, b)
    gradient = torch.randn(8, 5, generator=generator)
    a.backward(gradient)
    b.backward(gradient)
    torch.testing.assert_close(ours.grad, library.grad)
