"""Dark, bright, blurred, uninformative and odd-sized images, compared with the rest of the set.

What most images of a set are is no fault of one: a dark scan among dark scans is none.
"""

from typing import TYPE_CHECKING

import numpy as np

from engine.analysis.checks.features import CHUNK
from engine.analysis.checks.outliers import deviations
from engine.analysis.checks.report import Check, check, count, skipped
from engine.analysis.checks.samples import Samples

if TYPE_CHECKING:
    from torch import Tensor

DARK = 64  # gray level that the brightest pixels of a dark image do not reach
BRIGHT = 192  # gray level that the darkest pixels of a bright image exceed
OF_USUAL = 0.5  # a dark or bright image also has less than this share of the usual range
FEW_LEVELS = 0.4  # of the usual entropy
SHARP_DEVIATIONS, SHARP_SHARE = 4.0, 0.2  # below the usual sharpness
LARGE, LONG = 3.0, 2.0  # times the usual area and aspect ratio

TITLES = {
    "dark": "Dark images",
    "bright": "Bright images",
    "blurred": "Blurred images",
    "low_information": "Images with little or no information",
    "odd_size": "Images of an odd size",
}


def is_blank(samples: Samples) -> np.ndarray:
    """(M,) bool: images of a single color, which show nothing; no row is blank."""
    found = []
    for part in samples.parts.values():
        if part.images is None:
            found.append(np.zeros(len(part.labels), dtype=bool))
            continue
        for start in range(0, len(part.images), CHUNK):
            flat = part.images[start : start + CHUNK]
            flat = flat.reshape(*flat.shape[:2], -1)
            found.append((flat.max(2) == flat.min(2)).all(1))
    return np.concatenate(found)


def image_checks(
    samples: Samples, blank: np.ndarray, sizes: np.ndarray | None = None
) -> list[Check]:
    """The checks of TITLES. sizes: (M, 2) width and height of the files, 0 where unknown."""
    if not samples.has_images:
        why = "The samples are rows of numbers, not images."
        return [skipped(kind, title, why) for kind, title in TITLES.items()]
    images = [part.images for part in samples.parts.values() if part.images is not None]
    low, high, entropy, sharpness = measure(images)
    usual = ~blank
    checks = []
    room = 255 - low
    found = {
        "dark": (high < DARK) & (high < OF_USUAL * _median(high[usual])) & usual,
        "bright": (low > BRIGHT) & (room < OF_USUAL * _median(room[usual])) & usual,
        "blurred": _blurred(sharpness, usual),
        "low_information": blank | (entropy < FEW_LEVELS * _median(entropy[usual])),
    }
    scores = {
        "dark": 1 - high / 255,
        "bright": low / 255,
        "blurred": -np.log(np.maximum(sharpness, 1e-9)),
        "low_information": -entropy,
    }
    words = {
        "dark": lambda i: f"brightest pixels {high[i]:.0f} of 255",
        "bright": lambda i: f"darkest pixels {low[i]:.0f} of 255",
        "blurred": lambda i: (
            f"{100 * sharpness[i] / _median(sharpness[usual]):.0f} % of the usual sharpness"
        ),
        "low_information": lambda i: "a single color" if blank[i] else f"{entropy[i]:.1f} bits",
    }
    ends = {
        "dark": "nearly black",
        "bright": "nearly white",
        "blurred": "much less sharp than the others",
        "low_information": "nearly or entirely of a single color",
    }
    for kind, flagged in found.items():
        rows = np.flatnonzero(flagged).tolist()
        items = [samples.item([row], words[kind](row), scores[kind][row]) for row in rows]
        checks.append(
            check(
                kind,
                TITLES[kind],
                items,
                f"{count(len(rows), 'image is', 'images are')} {ends[kind]}.",
                f"No image is {ends[kind]}.",
            )
        )
    return [*checks, _odd_sizes(samples, sizes)]


def measure(images: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Of images (n, C, H, W) uint8 each: low, high, entropy and sharpness, each (M,) float64.

    low, high: gray levels that 5 % and 99 % of the pixels do not exceed. entropy: of the gray
    levels, in bits. sharpness: variance of the Laplacian, of that of the gray levels.
    """
    import torch

    found = [
        _measured(chunk)
        for part in images
        for chunk in torch.from_numpy(part).split(CHUNK)
        if len(chunk)
    ]
    return tuple(np.concatenate(values) for values in zip(*found, strict=True))


def _measured(images: "Tensor") -> tuple[np.ndarray, ...]:
    import torch

    gray = images.float().mean(1)
    levels = gray.round().long().flatten(1)
    n, n_pixels = levels.shape
    places = (levels + 256 * torch.arange(n)[:, None]).flatten()
    histogram = torch.bincount(places, minlength=256 * n).view(n, 256).double() / n_pixels
    below = histogram.cumsum(1)
    low, high = ((below < share - 1e-9).sum(1).double() for share in (0.05, 0.99))
    entropy = -(histogram * histogram.clamp(min=1e-12).log2()).sum(1)
    inner = gray[:, 1:-1, 1:-1]
    laplacian = 4 * inner - gray[:, :-2, 1:-1] - gray[:, 2:, 1:-1]
    laplacian -= gray[:, 1:-1, :-2] + gray[:, 1:-1, 2:]
    spread = gray.flatten(1).var(1, correction=0)
    sharpness = laplacian.flatten(1).square().mean(1) / spread.clamp(min=1e-3)
    return tuple(value.double().numpy() for value in (low, high, entropy, sharpness))


def _blurred(sharpness: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """(M,) bool: sharpness far below the usual one."""
    found = np.zeros(len(sharpness), dtype=bool)
    log = np.log(np.maximum(sharpness[usual], 1e-9))
    if len(log):
        found[usual] = (deviations(log) < -SHARP_DEVIATIONS) & (
            log < np.median(log) + np.log(SHARP_SHARE)
        )
    return found


def _odd_sizes(samples: Samples, sizes: np.ndarray | None) -> Check:
    title = TITLES["odd_size"]
    if sizes is None or not (sizes > 0).all(1).any():
        why = "All images came in one size, or the sizes of their files are not known."
        return skipped("odd_size", title, why)
    known = (sizes > 0).all(1)
    width, height = np.maximum(sizes, 1).T
    area, ratio = np.log(width * height), np.log(width / height)
    far = np.abs(area - np.median(area[known])) / np.log(LARGE)
    long = np.abs(ratio - np.median(ratio[known])) / np.log(LONG)
    odd = known & ((far > 1) | (long > 1))
    rows = np.flatnonzero(odd).tolist()
    items = [
        samples.item([r], f"{sizes[r, 0]:,} x {sizes[r, 1]:,} pixels", max(far[r], long[r]))
        for r in rows
    ]
    usual = f"{np.median(width[known]):.0f} x {np.median(height[known]):.0f}"
    return check(
        "odd_size",
        title,
        items,
        f"{count(len(rows), 'file has', 'files have')} another size or shape than most ({usual}).",
        f"No file has a size or shape far from {usual} pixels.",
        "note",
    )


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else 0.0
