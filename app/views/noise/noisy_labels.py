"""Spoiled labels, of a run or of settings that nobody has started: rates, reasons, samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from app.server import escaping
from engine.config import RunConfig
from engine.data import Data
from engine.noise.class_dependent import observed_matrix
from engine.runs.folder import RunFolder
from engine.training.noisy_labels import OnProgress, make_noisy_labels


@dataclass(frozen=True, eq=False)
class Spoiled:
    """N labels, C classes; true is None where nobody knows it."""

    kind: str  # noise model
    requested: float
    names: Sequence[str]  # (C,)
    given: np.ndarray  # (N,) int64
    true: np.ndarray | None  # (N,) int64
    matrix: np.ndarray  # (C, C) float64, asked for or expected; rows are true classes

    @cached_property
    def wrong(self) -> np.ndarray | None:
        """(N,) bool."""
        return None if self.true is None else self.given != self.true

    @cached_property
    def drawn(self) -> np.ndarray | None:
        """(C, C) float64, what came out; rows of absent classes are 0."""
        if self.true is None:
            return None
        return observed_matrix(self.true, self.given, len(self.names))

    @property
    def actual(self) -> float | None:
        return None if self.wrong is None else float(self.wrong.mean())

    @property
    def expected(self) -> float | None:
        """The share that the matrix makes wrong on average, with these class sizes."""
        return None if self.true is None else float((1 - self.matrix.diagonal())[self.true].mean())

    @property
    def sizes(self) -> np.ndarray:
        """(C,) samples of each true class, of each given class where the truth is not known."""
        return np.bincount(
            self.given if self.true is None else self.true, minlength=len(self.names)
        )

    def why(self) -> str:
        """Why the requested and the actual share of wrong labels differ, in plain words."""
        n, r, actual = len(self.given), self.requested, _percent(self.actual)
        if self.true is None:
            return "These labels came as they are, and nobody knows which of them are wrong."
        if self.kind == "none":
            return (
                f"We spoiled nothing: these labels came with {actual} mistakes of their own."
                if self.wrong.any()
                else "We spoiled nothing: every label is right."
            )
        if self.kind == "symmetric":
            c = len(self.names)
            return (
                f"We drew {int(round(r * n, 6)):,} of {n:,} samples and gave each a class at "
                f"random. One time in {c} that is its own class again, so only about "
                f"{r:g} × (1 − 1/{c}) = {_percent(r * (1 - 1 / c))} become wrong; in this draw it "
                f"is {actual}."
            )
        if self.kind == "symmetric-exclusive":
            return (
                f"We drew {int(round(r * n, 6)):,} of {n:,} samples and gave each another class "
                "than its own: what was requested is what came, up to one sample."
            )
        if self.kind == "human":
            return (
                f"People gave these labels: {actual} of them are not what the data set says. "
                "Nothing was drawn, and no rate was asked for."
            )
        moved = int((self.matrix.diagonal() < 1).sum())
        if self.kind == "instance":
            first = f"Every image has a flip rate of its own, drawn around {_percent(r)}"
        elif self.kind == "margin":
            first = "The less a network is sure of an image, the likelier its label flips"
        elif self.kind == "matrix":
            first = "Your table counts every class alike, but classes differ in size"
        elif moved < len(self.names):
            first = f"Only {moved} of {len(self.names)} classes have a look-alike; the others stay"
        else:
            first = "Every label is thrown on its own"
        return (
            f"{first}: about {_percent(self.expected)} wrong labels are to be expected. Chance "
            f"made it {actual}."
        )

    def farthest(self) -> str | None:
        """The cell in which the draw differs most from the request, in Markdown."""
        if self.drawn is None or not self.wrong.any():
            return None
        gap = np.abs(self.drawn - self.matrix) * (self.sizes > 0)[:, None]
        if not gap.any():  # labels of people: what is shown is what came
            return None
        i, j = np.unravel_index(gap.argmax(), gap.shape)
        true, became = escaping.markdown(self.names[i]), escaping.markdown(self.names[j])
        if i == j:
            return (
                f"They differ most at {true}: {_percent(self.matrix[i, i])} of it were to "
                f"keep their label, {_percent(self.drawn[i, i])} of {self.sizes[i]:,} samples did. "
                "The fewer samples a class has, the more chance plays."
            )
        return (
            f"They differ most at {true} → {became}: {_percent(self.matrix[i, j])} "
            f"requested, {_percent(self.drawn[i, j])} of {self.sizes[i]:,} samples drawn. The "
            "fewer samples a class has, the more chance plays."
        )

    def pick(self, *, true: int | None, given: int | None, n: int, seed: int) -> np.ndarray:
        """Rows of up to n wrong labels by chance, of one true or given class if it is named."""
        mask = self.wrong.copy()
        if true is not None:
            mask &= self.true == true
        if given is not None:
            mask &= self.given == given
        rows = np.flatnonzero(mask)
        return np.random.default_rng(seed).permutation(rows)[:n]


def of_run(run: RunFolder) -> Spoiled:
    """The labels that a run really has. Raises StoreError."""
    labels, config = run.labels, run.config
    return Spoiled(
        config.noise,
        run.info["rate_requested"],
        run.info["data"]["classes"],
        labels["given"],
        labels.get("true"),
        labels["matrix"],
    )


def of_settings(config: RunConfig, data: Data, on_progress: OnProgress | None = None) -> Spoiled:
    """The labels that a run with these settings would have. Raises NoiseError or ConfigError.

    on_progress: called while the networks that the noise `margin` needs are trained, see
    `make_noisy_labels`.
    """
    problem = make_noisy_labels(config, data, on_progress=on_progress)
    return Spoiled(
        config.noise,
        problem.rate_requested,
        data.classes,
        problem.given,
        problem.true,
        problem.matrix,
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
