"""Networks, augmentation, learning rates and device choice."""

import math

import numpy as np
import pytest
import torch

from engine import hardware, models
from engine.config import registry
from engine.hardware import (
    can_compile,
    choose_compile,
    choose_device,
    choose_precision,
    hardware_info,
)
from engine.method import optimization
from engine.method.augmentation import augment, distort, normalize, randaugment


@pytest.mark.parametrize(
    ("network", "shape", "n_features"),
    [
        ("small", (1, 8, 8), 128),
        ("small", (3, 28, 28), 128),
        ("resnet9-w16", (3, 32, 32), 128),
        ("resnet9", (3, 32, 32), 512),
        ("resnet18", (3, 32, 32), 512),
        ("resnet34", (1, 32, 32), 512),
    ],
)
def test_networks_give_logits_and_features(network, shape, n_features):
    net = models.build(registry.function("networks", network), shape, 7, seed=0).eval()
    with torch.no_grad():
        logits, features = net(torch.rand(2, *shape))
    assert logits.shape == (2, 7)
    assert features.shape == (2, n_features)
    # the logits are a linear function of the features
    torch.testing.assert_close(net.head(features), logits)


def test_resnet_keeps_full_resolution_in_its_stem():
    net = models.build(registry.function("networks", "resnet18"), (3, 32, 32), 10, seed=0)
    sizes = []
    net.body.layer1.register_forward_hook(lambda *seen: sizes.append(seen[-1].shape[2:]))
    net(torch.rand(2, 3, 32, 32))
    assert sizes == [(32, 32)]
    assert sum(p.numel() for p in net.parameters()) == 11_173_962  # known for this CIFAR ResNet-18


def test_the_seed_alone_makes_the_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    small = registry.function("networks", "small")
    first = models.build(small, (1, 8, 8), 3, seed=5)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(2)
    second, other = (
        models.build(registry.function("networks", "small"), (1, 8, 8), 3, seed=s) for s in (5, 6)
    )
    assert torch.equal(first.head.weight, second.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_auto_network_goes_by_size():
    assert models.choose("auto", (1, 28, 28)) == "small"
    assert models.choose("auto", (3, 32, 32)) == "resnet9-w16"
    assert models.choose("resnet18", (1, 8, 8)) == "resnet18"
    with pytest.raises(ValueError, match="'vit'.*small, resnet9-w16, resnet9, resnet18, resnet34"):
        registry.function("networks", "vit")


@pytest.mark.parametrize("kind", ["shift", "crop-flip"])
def test_augmentation_against_slicing(kind):
    images = torch.randint(1, 256, (64, 3, 7, 5), dtype=torch.uint8)
    out = augment(images, kind, 2, torch.Generator().manual_seed(0))
    assert (out.shape, out.dtype) == (images.shape, torch.uint8)
    seen = set()
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)))
    for i in range(len(images)):
        found = [
            (dy, dx, flip)
            for dy in range(5)
            for dx in range(5)
            for flip in (False, True)
            if np.array_equal(
                out[i],
                (padded[i][:, :, ::-1] if flip else padded[i])[:, dy : dy + 7, dx : dx + 5],
            )
        ]
        assert len(found) == 1, "an image is one shifted, perhaps mirrored, copy of itself"
        seen.add(found[0])
    assert {flip for *_, flip in seen} == ({False, True} if kind == "crop-flip" else {False})
    assert len(seen) > 20


def test_augmentation_repeats_itself_and_can_be_off():
    images = torch.randint(256, (8, 1, 6, 6), dtype=torch.uint8)
    a, b = (augment(images, "crop-flip", 1, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a, b)
    assert augment(images, "none", 1, torch.Generator()) is images
    with pytest.raises(ValueError, match="'rotate'.*none, shift, crop-flip"):
        augment(images, "rotate", 1, torch.Generator())


def test_cutout_is_one_square_of_zeros_somewhere():
    images = torch.ones(300, 2, 9, 7)
    out = distort(images, cutout=4, jitter=0, generator=torch.Generator().manual_seed(0))
    places = set()
    for image in out:
        rows, columns = (image[0] == 0).nonzero(as_tuple=True)
        height, width = (int(v.max() - v.min()) + 1 if len(v) else 0 for v in (rows, columns))
        assert height <= 4, "the square may reach over the border, and be smaller then"
        assert width <= 4
        assert len(rows) == height * width
        assert torch.equal(image[0], image[1])
        places.add((int(rows.min()), int(columns.min())))
    assert len(places) > 20
    assert (out == 0).float().mean() > 0.1
    assert images.min() == 1, "the images themselves stay"


def test_jitter_changes_saturation_contrast_and_brightness_within_bounds():
    gray = torch.full((500, 3, 2, 2), 2.0)
    colored = gray + torch.tensor([-1.0, 0, 1])[:, None, None]
    generator = torch.Generator().manual_seed(0)
    out = distort(colored, cutout=0, jitter=0.2, generator=generator)
    spread, level = out[:, 2] - out[:, 1], out.mean((1, 2, 3))
    assert 0.8**2 < spread.min() < 0.85
    assert 1.15 < spread.max() < 1.2**2
    assert 2 * 0.8 - 0.2 < level.min() < level.max() < 2 * 1.2 + 0.2
    torch.testing.assert_close(out[:, 1] * 2, out[:, 0] + out[:, 2])
    assert distort(gray, cutout=0, jitter=0.0, generator=generator) is gray


def test_randaugment_changes_a_share_of_the_images_and_repeats_itself():
    images = torch.randint(256, (400, 3, 12, 10), dtype=torch.uint8)
    a, b = (randaugment(images, 0.5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a, b)
    assert a.shape == images.shape
    assert a.min() >= 0
    assert a.max() <= 255
    same = (a - images).abs().amax((1, 2, 3)) < 0.001
    assert 0.4 < same.float().mean() < 0.6
    assert randaugment(images, 0.0, torch.Generator()) is images


def test_randaugment_takes_each_of_its_ten_operations():
    ramp = torch.arange(0, 250, 10, dtype=torch.uint8).repeat(2000, 3, 25, 1)
    out = randaugment(ramp, 1.0, torch.Generator().manual_seed(0))
    middle = out[:, :, 12, 12].mean(1)
    assert (out[:, 0, 2, 12] - out[:, 0, 22, 12]).abs().max() > 20, "rotated or sheared"
    assert middle.max() > 180, "brighter"
    assert middle.min() < 60, "darker"
    levels = torch.tensor([len(image.unique()) for image in out])
    assert (levels <= 4).any(), "posterized"
    falls = (out[:, 0, 12, 1:] < out[:, 0, 12, :-1]).any(1)
    assert 0.05 < falls.float().mean() < 0.4, "solarized"
    full = (out.amin((1, 2, 3)) < 1) & (out.amax((1, 2, 3)) > 254)
    assert full.float().mean() > 0.1, "automatic contrast"


@pytest.mark.parametrize("network", registry.BUILT_IN["networks"])
def test_folded_for_evaluation_a_network_says_the_same(network):
    net = models.build(registry.function("networks", network), (3, 32, 32), 10, seed=0).eval()
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.2, 0.2)
            layer.running_var.uniform_(0.5, 2)
    folded = models.for_evaluation(net, torch.device("cpu"), "bf16")
    kinds = {type(layer) for layer in folded.modules()}
    assert not any(issubclass(kind, torch.nn.BatchNorm2d) for kind in kinds)
    of_rows = network in ("linear", "mlp")
    assert of_rows or any(issubclass(kind, torch.nn.Conv2d) for kind in kinds)
    with torch.no_grad():
        images = torch.randn(4, 3, 32, 32)
        torch.testing.assert_close(folded(images), net(images), rtol=1e-3, atol=1e-4)
    assert models.for_evaluation(net, torch.device("cpu"), "float32") is net
    assert models.for_evaluation(net, torch.device("cuda"), "float32") is not net


def test_for_evaluation_whole_batches_alone_are_compiled(monkeypatch):
    compiled = []

    def watched(network, **options):
        compiled.append(options["mode"])
        return lambda images: (sizes.append(len(images)), network(images))[1]

    monkeypatch.setattr(torch, "compile", watched)
    sizes = []
    net = models.build(registry.function("networks", "resnet9-w16"), (3, 8, 8), 10, seed=0)
    plain = models.for_evaluation(net, torch.device("cpu"), "float32")
    fast = models.for_evaluation(net, torch.device("cpu"), "float32", "default")
    with torch.no_grad():
        for n in (128, 5, 127):
            images = torch.randn(n, 3, 8, 8)
            torch.testing.assert_close(fast(images), plain(images), rtol=1e-3, atol=1e-4)
    assert compiled == ["default"]
    assert sizes == [128]
    models.for_evaluation(net, torch.device("cuda"), "bf16", "reduce-overhead")
    assert compiled[1:] == ["default"]  # its graphs would be recorded again for each copy


def test_normalize_by_channel():
    images = torch.randint(256, (50, 3, 4, 4), dtype=torch.uint8)
    units = images.float() / 255
    mean, std = units.mean((0, 2, 3)), units.std((0, 2, 3), correction=0)
    out = normalize(images, mean, std)
    np.testing.assert_allclose(out.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(out.std((0, 2, 3), correction=0), 1, atol=1e-5)


def rates(schedule: str, epochs: int, **options) -> list[float]:
    known = dict(epochs=epochs, high=0.1, low=0.01, period=4) | options
    return [optimization.learning_rate(schedule, e, **known) for e in range(epochs)]


def test_schedules_against_torch():
    parameter = [torch.nn.Parameter(torch.zeros(1))]
    optimizer = torch.optim.SGD(parameter, lr=0.1)
    for schedule, theirs in (
        ("cosine", torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12, eta_min=0.01)),
        (
            "warm-restarts",
            torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 4, eta_min=0.01),
        ),
    ):
        expected = []
        for _ in range(12):
            expected.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            theirs.step()
        np.testing.assert_allclose(rates(schedule, 12), expected, rtol=1e-9)
        optimizer.param_groups[0]["lr"] = 0.1


def test_one_cycle_rises_then_falls_and_constant_stays():
    values = rates("one-cycle", 20)
    assert values[0] == pytest.approx(0.01)
    assert int(np.argmax(values)) == 6
    assert max(values) == pytest.approx(0.1)
    assert (np.diff(values[6:]) < 0).all()
    assert rates("constant", 3) == [0.1] * 3
    assert math.isclose(
        optimization.learning_rate("one-cycle", 20, epochs=20, high=1, low=0, period=1), 0
    )
    with pytest.raises(ValueError, match="'linear'.*constant, cosine"):
        rates("linear", 3)


def test_optimizers_take_their_settings():
    parameters = [torch.nn.Parameter(torch.ones(1))]
    sgd = optimization.build("sgd", parameters, momentum=0.8, weight_decay=0.1)
    assert (sgd.defaults["momentum"], sgd.defaults["weight_decay"]) == (0.8, 0.1)
    assert isinstance(
        optimization.build("adamw", parameters, momentum=0.8, weight_decay=0.1), torch.optim.AdamW
    )
    with pytest.raises(ValueError, match="'lbfgs'.*sgd, adamw"):
        optimization.build("lbfgs", parameters, momentum=0, weight_decay=0)


def test_device_and_precision():
    cpu = choose_device("cpu")
    assert choose_precision("auto", "small", cpu) == "float32"
    assert choose_precision("float32", "resnet18", cpu) == "float32"
    assert choose_precision("auto", "resnet9-w16", cpu) in ("float32", "bf16")
    assert {"processor", "cores", "commit", "torch"} <= set(hardware_info(cpu))
    with pytest.raises(ValueError, match="'cuda:99': this machine has"):
        choose_device("cuda:99")


@pytest.mark.parametrize(
    ("network", "device", "n_images", "compiler", "expected"),
    [
        ("resnet9-w16", "cpu", 10**6, "g++", "default"),
        ("resnet9-w16", "cpu", 10**6 - 1, "g++", "none"),
        ("small", "cpu", 10**9, "g++", "none"),
        ("resnet9-w16", "cpu", 10**9, "no-such-compiler", "none"),
    ],
)
def test_auto_compiles_long_runs_where_it_can(
    network, device, n_images, compiler, expected, monkeypatch
):
    if compiler == "g++" and expected == "default" and not can_compile():
        pytest.skip("torch.compile lacks something, see can_compile")
    monkeypatch.setenv("CXX", compiler)
    assert choose_compile("auto", network, torch.device(device), n_images) == expected
    assert choose_compile("max-autotune", network, torch.device(device), 1) == "max-autotune"


def test_auto_compiles_longer_runs_on_a_gpu_where_triton_is(monkeypatch):
    cuda = torch.device("cuda")
    monkeypatch.setattr(hardware, "find_spec", lambda name: None)
    assert not can_compile(cuda)
    assert choose_compile("auto", "resnet9", cuda, 10**9) == "none"
    monkeypatch.setattr(hardware, "can_compile", lambda device: device == cuda)
    assert choose_compile("auto", "resnet9", cuda, 10**7) == "default"
    assert choose_compile("auto", "resnet9", cuda, 10**7 - 1) == "none"
    assert choose_compile("auto", "small", cuda, 10**9) == "none"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
def test_auto_device_is_the_gpu_where_there_is_one():
    assert choose_device("auto").type == "cuda"
