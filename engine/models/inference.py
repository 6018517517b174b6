"""The forward pass that training, evaluation and predictions share."""

import torch
from torch import Tensor, nn


def forward(
    network: nn.Module, images: Tensor, precision: str = "float32", *, mirrored: bool = False
) -> tuple[Tensor, Tensor]:
    """Logits (B, n_classes) and features (B, D), float32, of normalized images (B, C, H, W).

    precision: "float32" or "bf16". mirrored: average over each image and its mirror image.
    """
    if mirrored:
        views = [forward(network, view, precision) for view in (images, images.flip(3))]
        logits, features = ((a + b) / 2 for a, b in zip(*views, strict=True))
        return logits, features
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits, features = network(images)
    return logits.float(), features.float()
