"""A mixed image as a sum, in HTML: weight x image + weight x image ... = mixed image."""

import numpy as np
import streamlit as st

from app.components.images import data_url
from app.server import escaping
from app.views.sample.sample import Sample, images
from engine.analysis import sample_history
from engine.charts import theme


def draw(of: Sample, mix: sample_history.Mix, *, size: int) -> None:
    """weight x image + weight x image ... = mixed image."""
    pixels = images(of.view, mix.parts)
    if pixels is None:
        st.html(f'<div class="equation">{"".join(part_text(of, mix, i) for i in _all(mix))}</div>')
        return
    cells = [part(of, mix, i, pixels[i], size=size, sign=bool(i)) for i in _all(mix)]
    mixed = sample_history.mixed_image(pixels, mix.weights)
    top = int(mix.label.argmax())
    words = f"mixed image<br>{label_of(of, top, mark='')} {percent(mix.label[top])}"
    cells.append(figure("=", picture(mixed, "the mixed image", round(1.3 * size)), "", words))
    st.html(f'<div class="equation">{"".join(cells)}</div>')


def part(
    of: Sample, mix: sample_history.Mix, i: int, pixels: np.ndarray, *, size: int, sign: bool = True
) -> str:
    """HTML of one part of a mixed image: its weight, image, label, P(clean) and distance."""
    label = int(mix.soft[i].argmax())
    alt = f"{'the sample' if i == 0 else f'neighbor {i}, sample {mix.parts[i]}'}: "
    alt += f"label {of.classes[label]}, weight {mix.weights[i]:.3f}"
    above = f"{mix.weights[i]:.1%}".replace("%", " %")
    return figure("+" if sign else "", picture(pixels, alt, size), above, part_words(of, mix, i))


def part_text(of: Sample, mix: sample_history.Mix, i: int) -> str:
    """The same for an image that is gone."""
    return figure("+" if i else "", "", f"{mix.weights[i]:.1%}", part_words(of, mix, i))


def part_words(of: Sample, mix: sample_history.Mix, i: int) -> str:
    index, label = mix.parts[i], int(mix.soft[i].argmax())
    given = of.run.labels["given"][index]
    lines = ["itself" if i == 0 else f"sample {index}"]
    lines.append(label_of(of, label, mark=of.mark(index, label)))
    if given != label:
        lines.append(f"<small>given {escaping.html(of.classes[given])}</small>")
    if not np.isnan(mix.clean[i]):
        lines.append(f"P(clean) {mix.clean[i]:.2f}")
    if i and not np.isnan(mix.distances[i]):
        lines.append(f"distance {mix.distances[i]:.2f}")
    return "<br>".join(lines)


def figure(sign: str, image: str, above: str, below: str) -> str:
    """HTML of one term of the sum."""
    return (
        f'<div class="term"><span class="sign">{sign}</span><figure><div class="weight">{above}'
        f"</div>{image}<figcaption>{below}</figcaption></figure></div>"
    )


def picture(pixels: np.ndarray, alt: str, size: int) -> str:
    return (
        f'<img src="{data_url(pixels)}" alt="{escaping.html(alt)}" '
        f'style="width:{size}px;height:{size}px">'
    )


def label_of(of: Sample, label: int, mark: str | None = None) -> str:
    """A class with its color, and whether it is right."""
    sign = of.mark(of.index, label) if mark is None else mark
    kind = {"✓": ' class="right" title="right"', "✗": ' class="wrong" title="wrong"'}.get(sign, "")
    dot = f'<span class="dot" style="background:{theme.class_color(label)}"></span>'
    return f"{dot}{escaping.html(of.classes[label])}<span{kind}> {sign}</span>"


def percent(share: float) -> str:
    return f"<small>{100 * share:.0f} %</small>"


def _all(mix: sample_history.Mix) -> range:
    return range(len(mix.parts))
