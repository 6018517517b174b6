"""Simple features of images, and the nearest neighbors of each sample by them; nothing is trained.

Histograms of oriented gradients (Dalal and Triggs 2005) and an 8 x 8 thumbnail in color, reduced
by PCA. Rows of numbers are standardized and reduced in the same way.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.analysis.checks.samples import Samples

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_SIDE = 64  # pixels of images as features see them
N_CELLS, N_BINS = 4, 8  # of the histograms: cells per side, orientations
THUMBNAIL = 8  # pixels per side
N_COMPONENTS = 96
N_NEIGHBORS = 20
CHUNK = 1024  # images in memory as floats
EPSILON = 1e-3


@dataclass(frozen=True, eq=False)
class Space:
    """Where each of M samples is, and which samples are near it."""

    features: np.ndarray  # (M, D) float32, whitened by half
    neighbors: np.ndarray  # (M, k) int64, the nearest first; k is 0 for a single sample
    distances: np.ndarray  # (M, k) float32


def space_of(samples: Samples) -> Space:
    """Features of all samples and their N_NEIGHBORS nearest neighbors, by Euclidean distance."""
    import torch

    from engine.method.neighbors import nearest

    if samples.has_images:
        images = [part.images for part in samples.parts.values() if part.images is not None]
        parts = [image_features(one) for one in images]
    else:
        parts = [torch.as_tensor(part.rows).float() for part in samples.parts.values()]
    raw = torch.cat(parts)
    features = _reduced(raw)
    k = min(N_NEIGHBORS, len(features) - 1)
    if k < 1:
        return Space(features.numpy(), np.empty((len(features), 0), np.int64), np.empty((1, 0)))
    neighbors, distances = nearest(features, k)
    return Space(features.numpy(), neighbors.numpy(), distances.numpy())


def image_features(images: np.ndarray) -> "Tensor":
    """(n, D) float32 of images (n, C, H, W) uint8."""
    import torch

    return torch.cat([_features(chunk) for chunk in torch.from_numpy(images).split(CHUNK)])


def shrunk(images: "Tensor", side: int) -> "Tensor":
    """Images (n, C, H, W) as floats in [0, 255], sides of at most so many pixels, by area."""
    from torch.nn.functional import interpolate

    x = images.float()
    height, width = x.shape[2:]
    size = min(height, side), min(width, side)
    return x if size == (height, width) else interpolate(x, size, mode="area")


def _features(images: "Tensor") -> "Tensor":
    import torch
    from torch.nn.functional import adaptive_avg_pool2d

    x = shrunk(images, LARGEST_SIDE) / 255
    histograms = _gradient_histograms(x.mean(1))
    by_cell = histograms / (histograms.norm(dim=1, keepdim=True) + 0.01)
    whole = histograms.flatten(1)
    whole = whole / (whole.norm(dim=1, keepdim=True) + EPSILON)
    height, width = (min(side, THUMBNAIL) for side in x.shape[2:])
    thumbnail = adaptive_avg_pool2d(x, (height, width))
    return torch.cat([by_cell.flatten(1), 3 * whole, thumbnail.flatten(1)], 1)


def _gradient_histograms(gray: "Tensor") -> "Tensor":
    """(n, N_BINS, cells) of gray images (n, H, W): gradients by direction, in cells of a grid."""
    import torch
    from torch.nn.functional import pad

    x = pad(gray[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    across, down = x[:, 1:-1, 2:] - x[:, 1:-1, :-2], x[:, 2:, 1:-1] - x[:, :-2, 1:-1]
    strength = torch.hypot(across, down).flatten()
    angle = torch.atan2(down, across).flatten() * (N_BINS / torch.pi) + N_BINS
    lower = angle.floor()
    share = (angle - lower) * strength  # of the next bin
    bins = lower.long()

    n, height, width = gray.shape
    rows, columns = (min(side, N_CELLS) for side in (height, width))
    down_cell = torch.arange(height) * rows // height
    cell = down_cell[:, None] * columns + torch.arange(width) * columns // width
    size = rows * columns * N_BINS
    start = (torch.arange(n)[:, None, None] * size + cell * N_BINS).flatten()
    # opposite directions are one
    histograms = torch.bincount(start + bins % N_BINS, strength - share, n * size)
    histograms += torch.bincount(start + (bins + 1) % N_BINS, share, n * size)
    histograms = histograms.view(n, rows * columns, N_BINS)
    return histograms.transpose(1, 2) / (height * width / (rows * columns))


def _reduced(raw: "Tensor") -> "Tensor":
    """Standardized columns, PCA, and half of the whitening, which keeps large components larger."""
    import torch

    x = torch.nan_to_num(raw - raw.mean(0)) / (raw.std(0, correction=0) + EPSILON)
    variance, axes = torch.linalg.eigh((x.T @ x / len(x)).double())
    n = min(N_COMPONENTS, int((variance > 1e-6 * variance[-1]).sum()), len(x))
    axes, variance = axes[:, -n:].flip(1).float(), variance[-n:].flip(0).float()
    return (x @ axes) / (variance.clamp(min=1e-12) ** 0.25)
