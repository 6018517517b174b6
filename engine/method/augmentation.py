"""Augmentation of batches on their device: shift, flip, RandAugment, normalization, distortion."""

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

N_OPERATIONS = 2  # of RandAugment, for each image
GRAY = 127.5  # of the area that a moved image leaves


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


def unchanged(images: Tensor, generator: torch.Generator) -> Tensor:
    """The images themselves."""
    return images


def shift(images: Tensor, generator: torch.Generator, padding: int) -> Tensor:
    """`augment` by a random shift."""
    return augment(images, "shift", padding, generator)


def crop_flip(images: Tensor, generator: torch.Generator, padding: int) -> Tensor:
    """`augment` by a random shift and mirror."""
    return augment(images, "crop-flip", padding, generator)


def randaugment(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Strong augmentation: two random operations for each image (RandAugment).

    Of rotation (up to 30 degrees), shear along either axis (0.3), scale (0.75 to 1.33), brightness,
    contrast and saturation (factors 0.3 to 1.7), solarization, posterization (2 to 7 bits) and
    automatic contrast, each with a random magnitude. Operations on the geometry come first.

    images: (B, C, H, W) in 0..255. share: of the images that are augmented, in [0, 1]; 0 returns
    images itself. Returns (B, C, H, W) float32 in 0..255. Source: Cubuk et al. 2020, with fewer
    operations and random magnitudes.
    """
    if not share:
        return images
    n, device = len(images), images.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    chosen = uniform(10, n).argsort(0).argsort(0) < N_OPERATIONS
    on = chosen & (uniform(n) < share)
    size = torch.where(on, 2 * uniform(10, n) - 1, 0.0)  # (10, B) in [-1, 1], 0: not applied
    angle, zoom = size[0] * math.pi / 6, (4 / 3) ** size[3]
    cos, sin, zero = zoom * angle.cos(), zoom * angle.sin(), torch.zeros(n, device=device)
    rows = (cos + 0.3 * size[1] * sin, 0.3 * size[1] * cos - sin, zero)
    columns = (sin + 0.3 * size[2] * cos, cos - 0.3 * size[2] * sin, zero)
    matrices = torch.stack([torch.stack(rows, 1), torch.stack(columns, 1)], 1)
    grid = affine_grid(matrices, list(images.shape), align_corners=False)
    images = grid_sample(images.float() - GRAY, grid, align_corners=False) + GRAY

    size, on = size[..., None, None, None], on[..., None, None, None]
    images = images * (1 + 0.7 * size[4])
    average = images.mean((1, 2, 3), keepdim=True)
    images = average + (images - average) * (1 + 0.7 * size[5])
    gray = images.mean(1, keepdim=True)
    images = (gray + (images - gray) * (1 + 0.7 * size[6])).clamp(0, 255)
    images = torch.where(on[7] & (images > GRAY * (1 + size[7])), 255 - images, images)
    step = 2 ** (3.5 + 2.5 * size[8]).round()  # 2, 4, ... 64 of 256 levels become one
    images = torch.where(on[8], (images / step).floor() * step, images)
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    stretched = (images - low) * 255 / (high - low).clamp(min=1)
    return torch.where(on[9], stretched, images).clamp(0, 255)


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
