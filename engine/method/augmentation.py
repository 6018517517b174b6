"""Augmentation of batches on their device: shift, flip, normalization, distortion."""

import torch
from torch import Tensor


def augment(images: Tensor, kind: str, padding: int, generator: torch.Generator) -> Tensor:
    """A randomly shifted (and flipped) copy of each image.

    images: (B, C, H, W) uint8, C at most 4. kind: "none", "shift" or "crop-flip". padding: the
    largest shift in pixels; pixels from outside are 0. generator: on the device of the
    images. Returns (B, C, H, W) uint8. Raises ValueError.
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
    wide = width + 2 * padding
    # a pixel is one number of four bytes, so that its channels move together
    padded = images.new_zeros(n, height + 2 * padding, wide, 4)
    inside = slice(padding, padding + height), slice(padding, padding + width)
    padded[:, *inside, :channels] = images.permute(0, 2, 3, 1)
    places = rows[:, :, None] * wide + columns[:, None, :]
    pixels = padded.view(torch.int32).view(n, -1).gather(1, places.view(n, -1))
    crops = pixels.view(torch.uint8).view(n, height, width, 4)[..., :channels]
    return crops.permute(0, 3, 1, 2)


def distort(images: Tensor, *, cutout: int, jitter: float, generator: torch.Generator) -> Tensor:
    """A copy of each image with color jitter, and with a square cut out (Cutout).

    images: (B, C, H, W) float with mean 0 and std 1 by channel. cutout: side of the square in
    pixels, its center anywhere in the image; pixels in it become the mean, 0 (DeVries and Taylor
    2017). jitter: j; saturation and contrast are multiplied by random numbers from 1 - j to 1 + j,
    brightness is shifted by one from -j to j, independently for each image. 0 turns either off.
    """
    n, _, height, width = images.shape
    device = images.device
    if jitter:
        uniform = torch.rand(3, n, 1, 1, 1, generator=generator, device=device)
        saturation, contrast, brightness = jitter * (2 * uniform - 1)
        gray = images.mean(1, keepdim=True)
        images = (gray + (images - gray) * (1 + saturation)) * (1 + contrast) + brightness
    if cutout:
        uniform = torch.rand(2, n, 1, generator=generator, device=device)
        down, across = (
            (torch.arange(side, device=device) - part * side + cutout / 2).div(cutout).floor() == 0
            for part, side in zip(uniform, (height, width), strict=True)
        )
        images = images.masked_fill((down[:, :, None] & across[:, None, :])[:, None], 0.0)
    return images


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Images (B, C, H, W) in 0..255, uint8 or float -> float32 with mean 0 and std 1 by channel.

    mean, std: (C,) float32 of the training images in units of 0..1, on the images' device.
    """
    scale = 1 / (255 * std)
    return images.float() * scale[:, None, None] - (mean / std)[:, None, None]
