"""Features of images, learned without labels: how near their patches are to typical ones."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate, unfold

SIDE = 32  # pixels; larger images are shrunk
PATCH = 6  # pixels, of images of that side
SMALL = 16  # pixels; of images with a smaller side, patches have half of it
N_CENTROIDS = 256
N_SAMPLED = 40_000  # patches that are clustered
VARIANCE = 0.99  # kept when patches are whitened
SMALLEST_VARIANCE = 0.01  # of the pixels of a patch in 0..1; less counts as flat
TINY = 1e-9
CHUNK = 50  # images in memory at a time as patches


@torch.no_grad()
def patch_features(
    images: Tensor, *, seed: int = 0, on_progress: Callable[[int, int], None] | None = None
) -> Tensor:
    """Features (N, D) float32, D = 4 x 256, with mean 0 and std 1, of images (N, C, H, W) uint8.

    Patches are whitened and clustered by k-means; a feature is how near the patches in one quarter
    of an image are to one centroid, on average. Fewer centroids where there are few patches. On
    the device of the images. on_progress: called with images done and images in all; it may raise
    to end that. Source: Coates, Lee and Ng 2011.
    """
    from sklearn.cluster import MiniBatchKMeans  # late: importing it takes a while
    from sklearn.decomposition import PCA

    generator = torch.Generator().manual_seed(seed)
    height, width = images.shape[2:]
    scale = min(1.0, SIDE / max(height, width))
    size = tuple(max(min(side, SMALL // 2), round(side * scale)) for side in (height, width))
    patch = PATCH if min(size) >= SMALL else max(1, min(size) // 2)

    def patches(chunk: Tensor) -> Tensor:  # (B, P, C * patch * patch)
        pixels = chunk.float() / 255
        if scale < 1:
            pixels = interpolate(pixels, size, mode="area")
        found = unfold(pixels, patch).transpose(1, 2)
        found = found - found.mean(2, keepdim=True)
        return found / (found.var(2, keepdim=True) + SMALLEST_VARIANCE).sqrt()

    n = len(images)
    chosen = images[torch.randperm(n, generator=generator)[: max(1, N_SAMPLED // 8)]]
    sampled = torch.cat([_some(patches(chunk), 8, generator) for chunk in chosen.split(CHUNK)])
    values = sampled.cpu().numpy()
    if not values.std():  # all of one color
        return torch.zeros(n, 1, device=images.device)
    whitening = PCA(VARIANCE, whiten=True, random_state=seed).fit(values)
    k = min(N_CENTROIDS, max(2, len(values) // 20))
    clusters = MiniBatchKMeans(k, random_state=seed, n_init=1, batch_size=4096)
    clusters.fit(whitening.transform(values))

    device = images.device
    rotation = torch.from_numpy(
        (whitening.components_ / np.sqrt(whitening.explained_variance_ + TINY)[:, None]).T
    ).to(device, torch.float32)
    mean = torch.from_numpy(whitening.mean_).to(device, torch.float32)
    centroids = torch.from_numpy(clusters.cluster_centers_).to(device, torch.float32)
    grid = (size[0] - patch + 1, size[1] - patch + 1)
    features = []
    for number, chunk in enumerate(images.split(CHUNK)):
        if on_progress is not None:
            on_progress(number * CHUNK, n)
        white = (patches(chunk) - mean) @ rotation
        distances = torch.cdist(white, centroids)
        near = (distances.mean(2, keepdim=True) - distances).clamp(min=0)
        maps = near.transpose(1, 2).unflatten(2, grid)
        features.append(adaptive_avg_pool2d(maps, 2).flatten(1))
    return standardized(torch.cat(features))


def standardized(features: Tensor) -> Tensor:
    """(N, D) float with mean 0 and standard deviation 1 in each column; 0 where it is constant."""
    return (features - features.mean(0)) / (features.std(0) + 1e-6)


def _some(patches: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """(B, P, D) -> (B * most, D): as many patches of each image, or all."""
    order = torch.randperm(patches.shape[1], generator=generator)[:most]
    return patches[:, order.to(patches.device)].flatten(0, 1)
