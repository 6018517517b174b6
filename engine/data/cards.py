"""Pictures of samples that are rows of a table: their images, or cards with id and columns."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from engine.data.images import open_image
from engine.data.values import in_words
from engine.errors import ImageError

if TYPE_CHECKING:
    from engine.data.columns import Table

SIDE = 128  # pixels of a picture
LINE, MARGIN = 16, 6
DOTS = "\N{HORIZONTAL ELLIPSIS}"
PAPER, INK, FAINT = (250, 248, 243), (30, 34, 40), (108, 114, 122)


class Cards:
    """The pictures of some rows of a table; drawn when they are needed. See `base.Pictures`."""

    picture_shape = (3, SIDE, SIDE)

    def __init__(self, table: "Table", rows: np.ndarray):
        self.table, self.rows = table, rows

    def pictures(self, indices: np.ndarray | Sequence[int]) -> np.ndarray:
        """Pictures (n, H, W, 3) uint8 of the samples at indices (n,)."""
        found = [self._picture(int(self.rows[index])) for index in indices]
        return np.stack(found) if found else np.empty((0, SIDE, SIDE, 3), np.uint8)

    def subset(self, rows: np.ndarray) -> "Cards":
        """Those of these samples alone."""
        return Cards(self.table, self.rows[rows])

    def _picture(self, place: int) -> np.ndarray:
        path = self.table.paths[place]
        image = None if path is None else _thumbnail(path)
        return image if image is not None else self._card(place)

    def _card(self, place: int) -> np.ndarray:
        row = self.table.rows[place]
        title = row.id if row is not None and self.table.has_ids else f"row {place}"
        card = Image.new("RGB", (SIDE, SIDE), PAPER)
        draw = ImageDraw.Draw(card)
        title, _ = _fitting(draw, title, SIDE - 2 * MARGIN)
        draw.text((MARGIN, MARGIN), title, INK, font=_font())
        for number, (name, cells) in enumerate(self.table.columns.items(), 1):
            value = in_words(cells[place])
            value, width = _fitting(draw, value, SIDE / 2)
            top = MARGIN + number * LINE
            draw.text((SIDE - MARGIN - width, top), value, INK, font=_font())
            name, _ = _fitting(draw, name, SIDE - 3 * MARGIN - width)
            draw.text((MARGIN, top), name, FAINT, font=_font())
        return np.asarray(card)


def _fitting(draw: ImageDraw.ImageDraw, text: str, most: float) -> tuple[str, float]:
    """As much of a text as fits into so many pixels, and its width."""
    text = shown = " ".join(text.split())
    while shown and draw.textlength(shown, font=_font()) > most:
        text = text[:-1].rstrip()
        shown = text + DOTS if text else ""
    return shown, draw.textlength(shown, font=_font())


@functools.cache
def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(13)


@functools.lru_cache(4096)
def _thumbnail(path: Path) -> np.ndarray | None:
    """The image file (SIDE, SIDE, 3), padded with black; None if it cannot be read."""
    try:
        with open_image(path) as image:
            image.draft("RGB", (2 * SIDE, 2 * SIDE))
            upright = ImageOps.exif_transpose(image).convert("RGB")
            return np.asarray(ImageOps.pad(upright, (SIDE, SIDE)))
    except (ImageError, OSError):
        return None
