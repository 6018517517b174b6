"""Labels with noise, of a run or of settings that have not been started: rates and samples."""

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
class LabelNoise:
    """Given and true labels of N samples, C classes; `true` is None if they are not known."""

    kind: str  # noise model
    requested: float  # rate in [0, 1]
    names: Sequence[str]  # (C,)
    given: np.ndarray  # (N,) int64
    true: np.ndarray | None  # (N,) int64
    matrix: np.ndarray  # (C, C) float64, requested or expected; rows are true classes, sum to 1

    @cached_property
    def wrong(self) -> np.ndarray | None:
        """(N,) bool: which given labels differ from the true ones."""
        return None if self.true is None else self.given != self.true

    @cached_property
    def observed(self) -> np.ndarray | None:
        """(C, C) float64: the transition matrix of these labels; rows of absent classes are 0."""
        if self.true is None:
            return None
        return observed_matrix(self.true, self.given, len(self.names))

    @property
    def actual(self) -> float | None:
        """The share of wrong labels in [0, 1]."""
        return None if self.wrong is None else float(self.wrong.mean())

    @property
    def expected(self) -> float | None:
        """The share in [0, 1] that the matrix makes wrong on average, with these class sizes."""
        return None if self.true is None else float((1 - self.matrix.diagonal())[self.true].mean())

    @property
    def sizes(self) -> np.ndarray:
        """(C,) samples of each true class; of each given class if the true ones are not known."""
        return np.bincount(
            self.given if self.true is None else self.true, minlength=len(self.names)
        )

    def explanation(self) -> str:
        """Why the requested and the actual share of wrong labels differ, in a sentence or two."""
        n, rate, actual = len(self.given), self.requested, _percent(self.actual)
        changed = f"{int(round(rate * n, 6)):,} of {n:,} samples were drawn"
        if self.wrong is None:
            return "These labels are used as given; which of them are wrong is not known."
        if self.kind == "none":
            return "No noise was added: " + (
                f"{actual} of the labels of this data set are wrong."
                if self.wrong.any()
                else "every label is right."
            )
        if self.kind == "symmetric":
            c = len(self.names)
            return (
                f"{changed}, and each got a class uniformly at random. With probability 1/{c} that "
                f"is its own class again, so only about {rate:g} × (1 − 1/{c}) = "
                f"{_percent(rate * (1 - 1 / c))} of all labels become wrong; here it is {actual}."
            )
        if self.kind == "symmetric-exclusive":
            return (
                f"{changed}, and each got a class other than its own, so the actual rate equals "
                "the requested one, up to one sample."
            )
        if self.kind == "human":
            return (
                f"People gave these labels: {actual} of them differ from the true ones. No noise "
                "was drawn and no rate was requested."
            )
        return (
            f"{self._reason()}: about {_percent(self.expected)} wrong labels are expected; here "
            f"it is {actual}."
        )

    def _reason(self) -> str:
        """The first half of a sentence on what decides how many labels flip."""
        flipping = int((self.matrix.diagonal() < 1).sum())
        if self.kind == "instance":
            rate = _percent(self.requested)
            return f"Every image has a flip rate of its own, drawn around {rate}"
        if self.kind == "margin":
            return "The less confident a network is about an image, the likelier its label flips"
        if self.kind == "matrix":
            return "Your matrix gives each class a rate, but classes differ in size"
        if flipping < len(self.names):
            return f"Only {flipping} of {len(self.names)} classes have labels that flip"
        return "Every label flips independently"

    def largest_deviation(self) -> str | None:
        """The cell in which the observed matrix differs most from the requested one, in Markdown.

        None where they do not differ or the true labels are not known.
        """
        observed = self.observed
        if observed is None or self.actual == 0:
            return None
        gap = np.abs(observed - self.matrix) * (self.sizes > 0)[:, None]
        if not gap.any():  # human labels: the matrix is the observed one
            return None
        i, j = (int(at) for at in np.unravel_index(gap.argmax(), gap.shape))
        true, given = escaping.markdown(self.names[i]), escaping.markdown(self.names[j])
        cell = f"{true} (labels kept)" if i == j else f"{true} → {given}"
        return (
            f"They differ most at {cell}: {_percent(float(self.matrix[i, j]))} requested, "
            f"{_percent(float(observed[i, j]))} of {self.sizes[i]:,} samples observed. Small "
            "classes deviate more."
        )

    def sample_wrong(self, *, true: int | None, given: int | None, n: int, seed: int) -> np.ndarray:
        """Up to n random samples with wrong labels, of one true or given class if it is set.

        Requires known true labels.
        """
        mask = np.array(self.wrong)
        if true is not None:
            mask &= self.true == true
        if given is not None:
            mask &= self.given == given
        samples = np.flatnonzero(mask)
        return np.random.default_rng(seed).permutation(samples)[:n]


def of_run(run: RunFolder) -> LabelNoise:
    """The labels of a run. Raises StoreError."""
    labels, config = run.labels, run.config
    return LabelNoise(
        config.noise,
        run.info["rate_requested"],
        run.info["data"]["classes"],
        labels["given"],
        labels.get("true"),
        labels["matrix"],
    )


def of_settings(config: RunConfig, data: Data, on_progress: OnProgress | None = None) -> LabelNoise:
    """The labels that a run with these settings would have. Raises NoiseError or ConfigError.

    on_progress: called while the networks of `margin` noise are trained, see `make_noisy_labels`.
    """
    noisy = make_noisy_labels(config, data, on_progress=on_progress)
    return LabelNoise(
        config.noise, noisy.rate_requested, data.classes, noisy.given, noisy.true, noisy.matrix
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
