"""Whether a device computes what this machine's CPU does: the pieces of an epoch, one by one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine import models
from engine.config import RunConfig, registry
from engine.method import losses, optimization
from engine.method.augmentation import normalize
from engine.method.mixing import mixing_weights
from engine.method.mixture import fit_clean_probability, normalize_losses
from engine.method.neighbors import nearest
from engine.method.soft_labels import ema_update, one_hot
from engine.models.inference import forward

if TYPE_CHECKING:
    from engine.data import Data

N_IMAGES, N_POINTS = 256, 3000
CPU = torch.device("cpu")


def self_check(config: RunConfig, data: "Data", device: torch.device) -> Iterator[dict]:
    """Compare device and CPU on the first images of data: a row per piece, when it is computed.

    name; difference: the largest, relative to the CPU's largest value; allowed; ok. "neighbors" is
    the share of neighbors that differ. Products of float32 are computed in float32, not in TF32.
    """
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        here, there = (_pieces(config, data, where) for where in (CPU, device))
        for (name, allowed, expected), (_, _, found) in zip(here, there, strict=True):
            difference = _difference(name, expected, found.cpu())
            ok = difference <= allowed
            yield {"name": name, "difference": difference, "allowed": allowed, "ok": ok}
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def _difference(name: str, expected: Tensor, found: Tensor) -> float:
    if name == "neighbors":
        return float((expected != found).double().mean())
    gap = (expected.double() - found.double()).abs().max()
    return float(gap / expected.double().abs().max().clamp(min=1e-12))


def _pieces(
    config: RunConfig, data: "Data", device: torch.device
) -> Iterator[tuple[str, float, Tensor]]:
    """Name, allowed difference and result of each piece, computed on device."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(N_POINTS, 64, generator=generator).to(device)
    clean = torch.rand(N_POINTS, generator=generator).to(device)
    indices, distances = nearest(points, 5)
    yield "neighbors", 1e-3, indices  # near ties may swap
    yield "distances", 1e-5, distances
    others = torch.arange(N_POINTS, device=device).roll(1)[:, None]
    yield "mixing weights", 1e-5, mixing_weights(clean, others)
    yield "P(clean)", 1e-4, fit_clean_probability(normalize_losses(clean**4)).clean

    network = models.choose(config.network, data.shape)
    net = models.build(
        registry.function("networks", network), data.shape, data.n_classes, seed=0
    ).to(device)
    net.to(memory_format=torch.channels_last)
    mean, std = (v.to(device) for v in data.channel_stats())
    images = normalize(data.images[:N_IMAGES].to(device), mean, std)
    labels = data.labels[:N_IMAGES].to(device)
    targets = one_hot(labels, data.n_classes)
    folded = models.for_evaluation(net, device, "bf16").requires_grad_(False)
    yield "folded network, float32", 1e-3, forward(folded, images)[0]
    yield "folded network, bf16", 5e-2, forward(folded, images, "bf16")[0]
    net.train()
    optimizer = optimization.build("sgd", net.parameters(), momentum=0.9, weight_decay=5e-4)
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    logits, features = forward(net, images)
    yield "logits in training", 1e-3, logits.detach()
    yield "features in training", 1e-3, features.detach()
    values = losses.soft_cross_entropy(logits, targets)
    yield "loss", 1e-3, values.detach()
    yield "soft labels", 1e-3, ema_update(targets, logits.detach().softmax(1), 0.9)
    values.mean().backward()
    optimizer.step()
    yield "weights after a step", 1e-3, torch.cat([p.detach().flatten() for p in net.parameters()])
