"""Augmentation of whole batches on their device: random shift and mirror, then normalization."""

import torch
from torch import Tensor


def augment(images: Tensor, kind: str, padding: int, generator: torch.Generator) -> Tensor:
    """A randomly shifted (and mirrored) copy of each image.

    images: (B, C, H, W), any type. kind: "none", "shift" or "crop-flip". padding: the largest
    shift in pixels; what comes in from outside is 0. generator: on the device of the images.
    Returns (B, C, H, W) of the same type. Raises ValueError.
    """
    if kind == "none":
        return images
    if kind not in ("shift", "crop-flip"):
        raise ValueError(f"augment = {kind!r}: allowed are none, shift, crop-flip")
    n, channels, height, width = images.shape
    device = images.device
    # shift: rows and columns of the padded image that each output pixel reads
    shift = torch.randint(2 * padding + 1, (2, n, 1), generator=generator, device=device)
    rows = torch.arange(height, device=device) + shift[0]
    columns = torch.arange(width, device=device).expand(n, width)
    if kind == "crop-flip":
        flip = torch.randint(2, (n, 1), generator=generator, device=device, dtype=torch.bool)
        columns = torch.where(flip, width - 1 - columns, columns)
    columns = columns + shift[1]
    padded = torch.nn.functional.pad(images, (padding,) * 4)
    batch = torch.arange(n, device=device)[:, None, None]
    # indexing by three tensors around the channel axis puts the channels last
    crops = padded[batch, :, rows[:, :, None], columns[:, None, :]]
    return crops.permute(0, 3, 1, 2)


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 images (B, C, H, W) -> float32 with mean 0 and std 1 by channel.

    mean, std: (C,) float32 of the training images in units of 0..1, on the images' device.
    """
    scale = 1 / (255 * std)
    return images.float() * scale[:, None, None] - (mean / std)[:, None, None]
