"""A mixed image as a sum, in HTML: weight x image + weight x image ... = mixed image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from app.components.images import data_url, pixels
from app.server import escaping
from engine.analysis import sample_history
from engine.charts import theme

if TYPE_CHECKING:
    from app.views.sample.sample import Sample


def show(sample: Sample, mix: sample_history.Mix, pixels: np.ndarray | None, *, size: int) -> None:
    """weight x image + weight x image ... = mixed image.

    pixels: (P, H, W, C), the images of the mix; None: only weights and captions. size: side of an
    image in pixels of the screen.
    """
    parts = range(len(mix.parts))
    if pixels is None:
        st.html(f'<div class="equation">{"".join(part_text(sample, mix, i) for i in parts)}</div>')
        return
    cells = [part(sample, mix, i, pixels[i], size=size, plus=bool(i)) for i in parts]
    mixed = sample_history.mixed_image(pixels, mix.weights)
    top = int(mix.label.argmax())
    caption = f"mixed image<br>{label_html(sample, top, mark='')} {percent(mix.label[top])}"
    cells.append(term("=", image_html(mixed, "the mixed image", round(1.3 * size)), "", caption))
    st.html(f'<div class="equation">{"".join(cells)}</div>')


def part(
    sample: Sample,
    mix: sample_history.Mix,
    i: int,
    pixels: np.ndarray,
    *,
    size: int,
    plus: bool = True,
) -> str:
    """HTML of one part of a mixed image: its weight, image, label, P(clean) and distance."""
    label = int(mix.soft[i].argmax())
    alt = f"{'the sample' if i == 0 else f'neighbor {i}, sample {mix.parts[i]}'}: "
    alt += f"label {sample.classes[label]}, weight {mix.weights[i]:.3f}"
    weight = f"{mix.weights[i]:.1%}".replace("%", " %")
    image = image_html(pixels, alt, size)
    return term("+" if plus else "", image, weight, part_caption(sample, mix, i))


def part_text(sample: Sample, mix: sample_history.Mix, i: int) -> str:
    """`part` without the image."""
    return term("+" if i else "", "", f"{mix.weights[i]:.1%}", part_caption(sample, mix, i))


def part_caption(sample: Sample, mix: sample_history.Mix, i: int) -> str:
    """HTML below a part's image: its number, label, P(clean) and distance."""
    index, label = mix.parts[i], int(mix.soft[i].argmax())
    given = sample.run.labels["given"][index]
    lines = ["itself" if i == 0 else f"sample {index}"]
    lines.append(label_html(sample, label, mark=sample.mark(index, label)))
    if given != label:
        lines.append(f"<small>given {escaping.html(sample.classes[given])}</small>")
    if not np.isnan(mix.clean[i]):
        lines.append(f"P(clean) {mix.clean[i]:.2f}")
    if i and not np.isnan(mix.distances[i]):
        lines.append(f"distance {mix.distances[i]:.2f}")
    return "<br>".join(lines)


def term(sign: str, image: str, above: str, below: str) -> str:
    """HTML of one term of the sum; all arguments are HTML."""
    return (
        f'<div class="term"><span class="sign">{sign}</span><figure><div class="weight">{above}'
        f"</div>{image}<figcaption>{below}</figcaption></figure></div>"
    )


def image_html(image: np.ndarray, alt: str, size: int) -> str:
    """An image (H, W, C) as HTML, size pixels wide and high."""
    return (
        f'<img{pixels(image)} src="{data_url(image)}" alt="{escaping.html(alt)}" '
        f'style="width:{size}px;height:{size}px">'
    )


def label_html(sample: Sample, label: int, mark: str | None = None) -> str:
    """HTML of a class: color, name, and a mark; by default ✓ or ✗ if true labels are known."""
    if mark is None:
        mark = sample.mark(sample.index, label)
    kind = {"✓": ' class="right" title="right"', "✗": ' class="wrong" title="wrong"'}.get(mark, "")
    dot = f'<span class="dot" style="background:{theme.class_color(label)}"></span>'
    return f"{dot}{escaping.html(sample.classes[label])}<span{kind}> {mark}</span>"


def percent(share: float) -> str:
    """A share as small HTML: "12 %"."""
    return f"<small>{100 * share:.0f} %</small>"
