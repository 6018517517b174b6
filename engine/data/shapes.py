"""Ten generated shapes, 32x32 color: any number of images, no download, no wrong label."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from engine.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from engine.data.base import Data
    from engine.data.registry import Request

SIDE = 32
SHAPE = (3, SIDE, SIDE)
N_TRAIN = 10_000
N_RANGE = (50, 1_000_000)
CHUNK = 500  # images generated together: so few that their arrays fit into the processor's cache
MOST_HIDDEN = 0.2  # share of a shape that may be covered; it stays recognizable
GRAY = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # brightness of red, green, blue (BT.601)


def n_test(n_train: int) -> int:
    """The number of test images that come with so many training images."""
    return min(n_train // 5, 10_000)


def load(request: "Request") -> "Data":
    """Generate N training images (by default 10,000) and a fifth of that, at most 10,000, to test.

    The same seed gives the same images, and a smaller set is the beginning of a larger one.
    Raises DataError where N, the request's argument, is not a whole number in 50..1,000,000.
    """
    from engine.data.base import assemble  # late: torch

    low, high = N_RANGE
    n = request.argument or str(N_TRAIN)
    if not n.isdecimal() or not low <= int(n) <= high:
        raise DataError(f"{request.name!r} has no number of images N in {low}..{high} (shapes:N)")
    train = draw(int(n), seed=request.seed, part=0)
    test = draw(n_test(int(n)), seed=request.seed, part=1)
    return assemble(request.name, train, test, list(CLASSES), true_labels=train[1])


def draw(n: int, *, seed: int, part: int) -> "tuple[Tensor, Tensor]":
    """Images (n, 3, 32, 32) uint8 and labels (n,) int64; every ten in a row have all ten classes.

    part numbers independent streams of one seed: 0 for training, 1 for test.
    """
    import torch  # late: it takes a second

    images = np.empty((n, *SHAPE), dtype=np.uint8)
    labels = np.empty(n, dtype=np.int64)

    def fill(start: int) -> None:
        chunk = _draw_chunk(np.random.default_rng((seed, part, start // CHUNK)))
        stop = min(start + CHUNK, n)
        images[start:stop], labels[start:stop] = (array[: stop - start] for array in chunk)

    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, range(0, n, CHUNK)))
    return torch.from_numpy(images), torch.from_numpy(labels)


def _draw_chunk(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """CHUNK images (CHUNK, 3, 32, 32) uint8 and labels (CHUNK,) int64."""
    n_classes = len(CLASSES)
    labels = rng.permuted(np.tile(np.arange(n_classes), (CHUNK // n_classes, 1)), axis=1).ravel()
    radius = _uniform(rng, 8, 13)
    room = SIDE / 2 - 1 - radius  # keeps the shape inside the image
    # (CHUNK, 32, 32) coordinates around the shape's center, in units of its radius, y upward
    ticks = np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2
    x = (ticks - room * _uniform(rng, -1, 1)) / radius
    y = (-ticks[:, None] - room * _uniform(rng, -1, 1)) / radius
    u, v = _rotated(x, y, _uniform(rng, 0, 2 * np.pi))

    shape = np.empty_like(u)
    for label, distance in enumerate(CLASSES.values()):
        mine = labels == label
        shape[mine] = _coverage(distance(u[mine], v[mine]), radius[mine])
    cover = _coverage(_occluder(rng, x, y), radius)
    hidden = (shape * cover).sum((1, 2)) / shape.sum((1, 2))
    cover[hidden > MOST_HIDDEN] = 0
    return _paint(rng, shape, cover, _texture(rng, x, y)), labels


def _paint(
    rng: np.random.Generator, shape: np.ndarray, cover: np.ndarray, texture: np.ndarray
) -> np.ndarray:
    """Three masks (CHUNK, 32, 32) in 0..1 -> images (CHUNK, 3, 32, 32) uint8.

    The shape is bright on dark or dark on bright. The occluder has the background's brightness, so
    that it can hide a part of the outline but not add to it.
    """
    dark, bright = partial(_uniform, rng, 0.05, 0.35), partial(_uniform, rng, 0.65, 0.95)
    flip = rng.random((CHUNK, 1, 1)) < 0.5
    front = _color(rng, np.where(flip, dark(), bright()))
    back, other_back, occluder = (_color(rng, np.where(flip, bright(), dark())) for _ in range(3))
    image = back + (other_back - back) * texture[:, None]
    image += (front - image) * shape[:, None]
    image += (occluder - image) * cover[:, None]
    grain = rng.standard_normal((CHUNK, 1, SIDE, SIDE), dtype=np.float32)
    image += grain * _uniform(rng, 0, 0.08)[:, None]
    return (image.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _uniform(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """One number per image, (CHUNK, 1, 1) float32."""
    return rng.uniform(low, high, (CHUNK, 1, 1)).astype(np.float32)


def _rotated(x: np.ndarray, y: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cos, sin = np.cos(angle), np.sin(angle)
    return x * cos - y * sin, x * sin + y * cos


def _coverage(distance: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Share of each pixel inside an outline at a signed distance in radii (negative inside)."""
    return (0.5 - distance * radius).clip(0, 1)


def _color(rng: np.random.Generator, brightness: np.ndarray) -> np.ndarray:
    """(CHUNK, 3, 1, 1): a random tint around a brightness (CHUNK, 1, 1) in 0..1."""
    tint = rng.uniform(-0.4, 0.4, (CHUNK, 3)).astype(np.float32)
    tint -= (tint @ GRAY)[:, None]
    return brightness[:, None] + tint[..., None, None]


def _texture(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(CHUNK, 32, 32) in 0..1: plain, gradient, stripes or blotches, a quarter each."""
    along, _ = _rotated(x, y, _uniform(rng, 0, 2 * np.pi))
    blotches = rng.random((CHUNK, SIDE // 4, SIDE // 4), dtype=np.float32)
    kinds = [
        lambda these: 0,
        lambda these: (along[these] / 3 + 0.5).clip(0, 1),
        lambda these: 0.5 + 0.5 * np.sin(along[these] * 12),
        lambda these: blotches[these].repeat(4, 1).repeat(4, 2),
    ]
    texture = np.empty_like(along)
    kind = rng.integers(len(kinds), size=CHUNK)
    for k, draw_kind in enumerate(kinds):
        texture[kind == k] = draw_kind(kind == k)
    return texture


def _occluder(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance in radii to a bar (in a quarter of the images), a disk (ditto) or nothing."""
    along, across = _rotated(x, y, _uniform(rng, 0, 2 * np.pi))
    along = along - _uniform(rng, 0.5, 0.9)
    width = _uniform(rng, 0.1, 0.18)
    kind = rng.random((CHUNK, 1, 1))
    bar, disk = np.abs(along) - width, np.hypot(along, across) - 2 * width
    return np.where(kind < 0.25, bar, np.where(kind < 0.5, disk, np.float32(9)))


def _circle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.hypot(x, y) - 0.85


def _ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.abs(np.hypot(x, y) - 0.72) - 0.22


def _crescent(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(np.hypot(x, y) - 0.95, 0.78 - np.hypot(x - 0.45, y))


def _heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Two circle arcs above, a right angle below (iquilezles.org/articles/distfunctions2d)."""
    x, y = np.abs(x) / 1.6, y / 1.6 + 0.56
    lobe = np.hypot(x - 0.25, y - 0.75) - np.sqrt(np.float32(0.125))
    half = 0.5 * np.maximum(x + y, 0)
    side = np.minimum(np.hypot(x, y - 1), np.hypot(x - half, y - half)) * np.sign(x - y)
    return 1.6 * np.where(x + y > 1, lobe, side)


def _polygon(corners: Sequence[tuple[float, float]], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance to the nearest edge, negative where a ray to the right crosses an odd number."""
    nearest = np.full(x.shape, np.inf, dtype=np.float32)
    inside = np.zeros(x.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
        ex, ey, wx, wy = bx - ax, by - ay, x - ax, y - ay
        along = ((wx * ex + wy * ey) / (ex * ex + ey * ey)).clip(0, 1)
        nearest = np.minimum(nearest, (wx - along * ex) ** 2 + (wy - along * ey) ** 2)
        if ey:
            inside ^= ((wy >= 0) != (y >= by)) & (wx < wy * (ex / ey))
    return np.where(inside, -1, 1) * np.sqrt(nearest)


def _regular(*radii: float) -> list[tuple[float, float]]:
    """Corners at equal angles around the center, at these distances from it, the first on top."""
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    return [
        (float(r * np.sin(a)), float(r * np.cos(a))) for r, a in zip(radii, angles, strict=True)
    ]


A = 0.3  # half the width of the cross's arms
CROSS = [(A, A), (A, 1), (-A, 1), (-A, A), (-1, A), (-1, -A), (-A, -A), (-A, -1), (A, -1), (A, -A),
         (1, -A), (1, A)]  # fmt: skip
ARROW = [(0, 1), (0.75, 0.1), (0.25, 0.1), (0.25, -1), (-0.25, -1), (-0.25, 0.1), (-0.75, 0.1)]
HOURGLASS = [(0.68, 0.8), (-0.68, 0.8), (-0.1, 0), (-0.68, -0.8), (0.68, -0.8), (0.1, 0)]

# Name -> signed distance of the outline; rotated, no two are the same.
CLASSES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": _circle,
    "ring": _ring,
    "crescent": _crescent,
    "heart": _heart,
    "square": partial(_polygon, _regular(*[1.0] * 4)),
    "triangle": partial(_polygon, _regular(*[1.0] * 3)),
    "star": partial(_polygon, _regular(*[1.0, 0.42] * 5)),
    "cross": partial(_polygon, CROSS),
    "arrow": partial(_polygon, ARROW),
    "hourglass": partial(_polygon, HOURGLASS),
}
