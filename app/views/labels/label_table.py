"""The labels of a run at one epoch, before and after correction, and their tables."""

from typing import Any

import numpy as np
import pandas as pd

from app.server.label_issues import issues_of
from app.server.run_view import RunView
from engine.analysis import label_changes, label_outcomes
from engine.analysis.label_outcomes import LabelOutcome
from engine.charts import theme

ORDER = (  # of the list of changes: what deserves attention comes first
    LabelOutcome.HARMED,
    LabelOutcome.CHANGED,
    LabelOutcome.CORRECTED,
    LabelOutcome.MISSED,
)


class LabelView:
    """The labels of a run at an epoch: given, true (None if not known) and corrected, (N,) each.

    confidence: (N,) in [0, 1], the share of the corrected class in the soft label. outcomes: (N,)
    values of LabelOutcome. correction_start: the first epoch that corrects labels; None: none does.
    """

    def __init__(self, view: RunView):
        self.view, self.name, self.run = view, view.name, view.run
        self.records, self.record, self.epoch = view.records, view.record, view.epoch
        self.classes = view.classes
        self.given: np.ndarray = view.labels["given"]
        self.true: np.ndarray | None = view.labels.get("true")
        soft = view.values("soft")
        self.corrected: np.ndarray = soft.argmax(1)
        self.confidence = soft[np.arange(len(soft)), self.corrected]
        self.outcomes = label_outcomes.outcomes(self.given, self.true, self.corrected)
        self.counts = label_outcomes.outcome_counts(self.outcomes)
        self.flips = label_changes.label_flips(self.run)
        self.correction_start = label_changes.first_correction_epoch(self.run.config, self.record)

    @property
    def n_changed(self) -> int:
        return int((self.given != self.corrected).sum())


def outcome_title(outcome: LabelOutcome) -> str:
    """ "✓ Corrected", with the mark that it has in charts."""
    return f"{theme.OUTCOMES[outcome].mark} {outcome.word.capitalize()}"


def flow_table(labels: LabelView) -> pd.DataFrame:
    """How many labels have each given class, corrected class and outcome."""
    names = np.array(labels.classes, dtype=object)
    frame = pd.DataFrame(
        {
            "given": names[labels.given],
            "corrected": names[labels.corrected],
            "outcome": label_outcomes.outcome_words(labels.outcomes),
        }
    )
    return frame.value_counts(sort=False).rename("labels").reset_index()


def change_table(labels: LabelView) -> pd.DataFrame:
    """Every label that was changed or is wrong, one per row, harmed labels first."""
    samples, issues = _samples_to_list(labels), issues_of(labels.view)
    first, last, n = labels.flips.until(labels.epoch).per_sample(len(labels.given))
    names = np.array(labels.classes, dtype=object)
    columns: dict[str, Any] = {"sample": samples}
    if "ids" in labels.run.labels:
        columns["name"] = labels.run.labels["ids"][samples]
    columns["given"] = names[labels.given[samples]]
    columns["corrected"] = names[labels.corrected[samples]]
    if labels.true is not None:
        columns["true"] = names[labels.true[samples]]
    return pd.DataFrame(
        columns
        | {
            "outcome": label_outcomes.outcome_words(labels.outcomes[samples]),
            "confidence": labels.confidence[samples],
            "p_clean": issues.p_clean[samples],
            "decision": issues.decisions()[samples],
            "first_flip": _epochs(first[samples]),
            "last_flip": _epochs(last[samples]),
            "flips": n[samples],
        }
    )


def _samples_to_list(labels: LabelView) -> np.ndarray:
    """Samples with an outcome in ORDER, sorted by it, then by confidence, the surest first."""
    rank = np.full(len(LabelOutcome), -1)
    rank[list(ORDER)] = range(len(ORDER))
    samples = np.flatnonzero(rank[labels.outcomes] >= 0)
    return samples[np.lexsort((-labels.confidence[samples], rank[labels.outcomes[samples]]))]


def _epochs(epochs: np.ndarray) -> pd.arrays.IntegerArray:
    """Epochs as a column; -1 means none and becomes an empty cell."""
    return pd.array(np.where(epochs < 0, np.nan, epochs), dtype="Int64")
