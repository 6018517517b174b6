"""Pixels of opened images: one mode, one number of bits, one size."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from engine.data.images import BYTES_PER_PIXEL, JPEG

LONGEST = 64  # pixels of the longer side without image_size: what small networks are made for
SHORTEST = 8  # pixels of the shorter side, unless the images are smaller: the networks' smallest
BACKGROUND = (255, 255, 255, 255)  # that transparent images are composed on: white
BORDER = 0  # black, around images that are padded
BITS = (8, 10, 12, 14, 16)  # of the sensors that write gray images of more than 8 bits
GRAY = ("1", "L", "LA", "La")  # Pillow's modes without color

Size = tuple[int, int]  # (width, height), Pillow's order


def is_deep(image: Image.Image) -> bool:
    """Whether it is gray with more than 8 bits or of real numbers: convert() would clip at 255."""
    return image.mode[0] in "IF"


def is_gray(image: Image.Image) -> bool:
    """Whether it has no color by its mode."""
    return image.mode in GRAY or is_deep(image)


def is_transparent(image: Image.Image) -> bool:
    """Whether some pixel of a decoded image is not opaque."""
    if not image.has_transparency_data:
        return False
    low, _ = image.convert("RGBA").getchannel("A").getextrema()
    return low != 255


def value_range(image: Image.Image) -> tuple[float, float]:
    """The smallest and the largest finite value of an image that `is_deep`."""
    values = np.asarray(image)
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def levels(low: float, high: float) -> tuple[float, float]:
    """The values that become black and white where those of all deep images are low to high.

    Black is 0, unless there are negative values. White is the largest value of 8, 10, 12, 14 or 16
    bits, whichever are enough; 1 for values up to 1; beyond 16 bits the largest value.

    >>> levels(0, 4064), levels(3, 254), levels(0, 0.8), levels(-1000, 2000)
    ((0.0, 4095.0), (0.0, 255.0), (0.0, 1.0), (-1000.0, 2000.0))
    """
    if low < 0:
        return low, max(high, low + 1)
    if high <= 1:
        return 0.0, 1.0
    tops = [2.0**bits - 1 for bits in BITS if high < 2.0**bits]
    return 0.0, tops[0] if tops else high


def converted(image: Image.Image, mode: str, black: float, white: float) -> Image.Image:
    """An upright decoded image in a mode, L or RGB. black, white: of `levels`, for deep images."""
    if is_deep(image):
        values = np.asarray(image)
        if values.dtype.kind in "iu" and black == 0 and white + 1 in {2.0**bits for bits in BITS}:
            level = values >> (int(white).bit_length() - 8)
        else:
            share = (np.nan_to_num(values.astype(np.float64), nan=black) - black) / (white - black)
            level = np.round(255 * share.clip(0, 1))
        image = Image.fromarray(level.astype(np.uint8))
    elif is_transparent(image):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image)
    return image.convert(mode)


def common_size(sizes: Sequence[Size], fit: str) -> Size:
    """One size for images of these sizes.

    The median of the widths and of the heights, so the most common size where more than half have
    it; stretched images get the most common one. It is shrunk, never enlarged, so that the longer
    side has 64 pixels, or more if the shorter one would have less than 8.
    """
    if fit == "stretch":
        width, height = Counter(sizes).most_common(1)[0][0] if sizes else (LONGEST, LONGEST)
        scale = min(1.0, LONGEST / max(width, height))
    else:
        width, height = np.median(sizes, axis=0).tolist() if sizes else (LONGEST, LONGEST)
        scale = min(1.0, max(LONGEST / max(width, height), SHORTEST / min(width, height)))
    return max(1, round(width * scale)), max(1, round(height * scale))


def keeps_ratio(own: Size, size: Size) -> bool:
    """Whether stretching from own to size changes the aspect ratio by less than a pixel."""
    scale = min(size[0] / own[0], size[1] / own[1])
    return all(abs(a * scale - b) <= 1 for a, b in zip(own, size, strict=True))


def fitted(image: Image.Image, size: Size, fit: str) -> Image.Image:
    """The image in a size. fit: pad with black borders, crop at two sides, or stretch."""
    if image.size == size:
        return image
    bilinear = Image.Resampling.BILINEAR
    if fit == "stretch" or keeps_ratio(image.size, size):
        return image.resize(size, bilinear)
    if fit == "crop":
        return ImageOps.fit(image, size, bilinear)
    return ImageOps.pad(image, size, bilinear, color=BORDER)


def memory_to_decode(kind: str | None, own: Size, size: Size, *, progressive: bool) -> int:
    """Bytes for decoding one image of a format to size; JPEG is decoded at less detail."""
    n = own[0] * own[1]
    if kind not in JPEG:
        return BYTES_PER_PIXEL * n
    enough = min(own) // (2 * max(size))
    detail = next((k for k in (8, 4, 2) if enough >= k), 1)
    return BYTES_PER_PIXEL * n // detail**2 + (6 * n if progressive else 0)
