"""The colors of the map: arrays in, a color per point and its legend out."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from plotly.colors import sample_colorscale

from engine.analysis.label_outcomes import LabelOutcome, outcomes
from engine.charts.theme import MUTED, OUTCOMES, SEQUENTIAL, class_color

COLORINGS = {  # name in the URL -> title
    "given": "Given label",
    "true": "True label",
    "corrected": "Corrected label",
    "clean": "P(clean)",
    "loss": "Loss",
    "changed": "Changed in this epoch",
}
SHADES = 64  # of the color scale of a value


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels, P(clean) and losses of P samples after one epoch; labels are class numbers (P,)."""

    classes: list[str]
    given: np.ndarray
    true: np.ndarray | None
    corrected: np.ndarray  # after this epoch
    before: np.ndarray  # the corrected labels before it
    clean: np.ndarray  # (P,) in [0, 1]
    loss: np.ndarray  # (P,)


@dataclass(frozen=True, eq=False)
class Coloring:
    """A color per point; `cross` marks wrong labels by shape, None if the truth is unknown."""

    color: np.ndarray  # (P,) uint16, rows of palette
    palette: list[str]
    cross: np.ndarray | None  # (P,) bool
    legend: dict[str, Any]  # title; names of the palette's rows, or low and high of a scale; cross:
    # what it means; quiet: the row of the palette that is background


def colored(labels: Labels, by: str) -> Coloring:
    """The coloring of a name of COLORINGS. Raises ValueError for "true" without true labels."""
    if by in ("clean", "loss"):
        color, palette, legend = _by_value(labels, by)
    elif by == "changed":
        color, palette, legend = _by_change(labels)
    else:
        color = getattr(labels, by)
        if color is None:
            raise ValueError("the true labels of this data set are not known")
        names = list(labels.classes)
        palette, legend = [class_color(c) for c in range(len(names))], {"names": names}
    what = "given" if by in ("given", "true") else "corrected"
    cross = None if labels.true is None else getattr(labels, what) != labels.true
    if cross is not None:
        legend["cross"] = f"{what} label is wrong ({int(cross.sum()):,} of {len(cross):,})"
    return Coloring(color.astype(np.uint16), palette, cross, {"title": COLORINGS[by]} | legend)


def _by_value(labels: Labels, by: str) -> tuple[np.ndarray, list[str], dict[str, Any]]:
    values = np.nan_to_num(getattr(labels, by))
    top, low, high = 1.0, "0 surely wrong", "1 surely clean"
    if by == "loss":  # a few samples have far larger losses than all others
        top = max(float(np.quantile(values, 0.99)), 1e-9)
        low, high = "0", f"{top:.2g} or more"
    shade = np.clip(np.rint(values / top * (SHADES - 1)), 0, SHADES - 1)
    return shade, _shades(), {"low": low, "high": high}


def _by_change(labels: Labels) -> tuple[np.ndarray, list[str], dict[str, Any]]:
    """The outcomes of the labels that this epoch changed; unchanged ones are background."""
    codes = outcomes(labels.before, labels.true, labels.corrected)
    kinds = [LabelOutcome.CORRECTED, LabelOutcome.HARMED, LabelOutcome.CHANGED]
    if labels.true is None:
        kinds = [LabelOutcome.CHANGED]
    color = np.select([codes == kind for kind in kinds], range(1, len(kinds) + 1), 0)
    counts = np.bincount(color, minlength=len(kinds) + 1)
    words = ["not changed", *(kind.word for kind in kinds)]
    legend = {"names": [f"{word} ({n:,})" for word, n in zip(words, counts, strict=True)]}
    return color, [MUTED, *(OUTCOMES[kind].color for kind in kinds)], legend | {"quiet": 0}


@cache
def _shades() -> list[str]:
    colors = sample_colorscale(SEQUENTIAL, SHADES, colortype="tuple")
    return ["#" + "".join(f"{round(255 * v):02x}" for v in color) for color in colors]
