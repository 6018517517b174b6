"""Images of samples for a page: one sprite sheet of all, or one by one."""

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

    from engine.data import Data

LARGEST_SIDE = 96  # pixels of an image
LARGEST_SHEET = 2560  # pixels of a side of the sheet; a browser needs 26 MB to show it
PNG_UP_TO = 16  # pixels; lossy formats blur images this small
QUALITY = 80  # of WebP
CHUNK = 256  # images in memory at once


def sprite_sheet(data: "Data", samples: np.ndarray) -> tuple[bytes, dict[str, Any]]:
    """A PNG or WebP file of the training images at samples (n,), in rows, and its description.

    Description, see README.md: type, width, height (of one image), columns, smooth.
    """
    from PIL import Image

    columns = int(np.ceil(np.sqrt(len(samples))))
    width, height = _size(data, min(LARGEST_SIDE, LARGEST_SHEET // columns))
    mode = "L" if data.picture_shape[0] == 1 else "RGB"
    sheet = Image.new(mode, (columns * width, -(-len(samples) // columns) * height))
    for start in range(0, len(samples), CHUNK):
        for number, image in enumerate(_pictures(data, samples[start : start + CHUNK]), start):
            row, column = divmod(number, columns)
            sheet.paste(_resized(image, (width, height)), (column * width, row * height))
    content, kind = _encoded(sheet, max(width, height))
    smooth = max(data.picture_shape[1:]) > PNG_UP_TO
    return content, dict(type=kind, width=width, height=height, columns=columns, smooth=smooth)


def image_urls(data: "Data", samples: np.ndarray) -> list[str]:
    """Each training image at samples (n,) as a data: URL, sides of at most LARGEST_SIDE pixels."""
    size = _size(data, LARGEST_SIDE)
    urls = []
    for image in _pictures(data, samples):
        content, kind = _encoded(_resized(image, size), max(size))
        urls.append(f"data:{kind};base64,{base64.b64encode(content).decode()}")
    return urls


def _pictures(data: "Data", samples: np.ndarray) -> list["Image.Image"]:
    from PIL import Image

    pixels = data.pictures(samples)
    return [Image.fromarray(p[..., 0] if p.shape[-1] == 1 else p) for p in pixels]


def _size(data: "Data", most: int) -> tuple[int, int]:
    """Width and height of an image, reduced to at most so many pixels."""
    _, height, width = data.picture_shape
    share = min(1.0, most / max(height, width))
    return max(1, round(width * share)), max(1, round(height * share))


def _resized(image: "Image.Image", size: tuple[int, int]) -> "Image.Image":
    from PIL import Image

    return image if image.size == size else image.resize(size, Image.Resampling.BOX)


def _encoded(image: "Image.Image", side: int) -> tuple[bytes, str]:
    buffer = io.BytesIO()
    if side <= PNG_UP_TO:
        image.save(buffer, "PNG", optimize=True)
        return buffer.getvalue(), "image/png"
    image.save(buffer, "WEBP", quality=QUALITY, method=4)
    return buffer.getvalue(), "image/webp"
