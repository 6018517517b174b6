"""The labels of a run at one epoch, and what became of them: words and tables for Labels."""

import numpy as np
import pandas as pd

from app.server.run_view import RunView
from app.views.your_data import evidence
from engine.analysis import label_changes, label_outcomes
from engine.analysis.label_outcomes import LabelOutcome
from engine.charts.theme import METHODS

# of the list of changes: what deserves a look comes first
ORDER = (
    LabelOutcome.HARMED,
    LabelOutcome.CHANGED,
    LabelOutcome.CORRECTED,
    LabelOutcome.MISSED,
)


class Labels:
    """The labels of a run at the chosen epoch, and what became of them."""

    def __init__(self, view: RunView):
        self.view, self.name, self.run = view, view.name, view.run
        self.records, self.record, self.epoch = view.records, view.record, view.epoch
        self.classes = view.classes
        self.given = view.labels["given"]
        self.true = view.labels.get("true")
        soft = view.values("soft")
        self.corrected = soft.argmax(1)
        self.confidence = soft[np.arange(len(soft)), self.corrected]
        self.outcomes = label_outcomes.outcomes(self.given, self.true, self.corrected)
        self.counts = label_outcomes.outcome_counts(self.outcomes)
        self.flips = label_changes.label_flips(self.run)
        self.begins = label_changes.first_correction_epoch(self.run.config, self.record)

    @property
    def n_changed(self) -> int:
        return int((self.given != self.corrected).sum())


def not_yet(labels: Labels) -> str:
    """Why no label is changed at this epoch, and when one will be."""
    config, begins = labels.run.config, labels.begins
    if begins is None:
        method = METHODS.get(config.method, config.method)
        return (
            f"This run's method ({method}) corrects no labels: they stay as they were "
            "given. **MixNN** and **SELC** do; choose one on Train."
        )
    if labels.epoch >= begins:
        alpha = labels.record["settings"]["alpha"]
        return (
            f"Correction is on since epoch {begins} and has changed no label up to epoch "
            f"{labels.epoch}: with alpha {alpha:g} soft labels take a while to move that far."
        )
    if begins >= config.epochs:
        return (
            f"No label will be corrected: correction would start at epoch {begins}, but the run "
            f"ends with epoch {config.epochs - 1}. Let it start earlier, or train longer."
        )
    return (
        f"No label is corrected yet at epoch {labels.epoch}: correction starts at epoch {begins}. "
        "Until then the network learns from the labels as they were given."
    )


def flow_table(labels: Labels) -> pd.DataFrame:
    """Given and corrected class, outcome and how many, over all labels."""
    names = np.array(labels.classes, dtype=object)
    frame = pd.DataFrame(
        {
            "given": names[labels.given],
            "corrected": names[labels.corrected],
            "outcome": label_outcomes.outcome_words(labels.outcomes),
        }
    )
    return frame.value_counts(sort=False).rename("labels").reset_index()


def changes(labels: Labels) -> pd.DataFrame:
    """Every label that was changed or is wrong, the doubtful ones first."""
    flips = labels.flips.until(labels.epoch)
    first, last, n = flips.per_sample(len(labels.given))
    rank = np.full(len(LabelOutcome), -1)
    rank[list(ORDER)] = range(len(ORDER))
    found = np.flatnonzero(rank[labels.outcomes] >= 0)
    found = found[np.lexsort((-labels.confidence[found], rank[labels.outcomes[found]]))]
    names = np.array(labels.classes, dtype=object)
    columns = {"sample": found}
    if "ids" in labels.run.labels:
        columns["name"] = labels.run.labels["ids"][found]
    columns |= {"given": names[labels.given[found]], "corrected": names[labels.corrected[found]]}
    if labels.true is not None:
        columns["true"] = names[labels.true[found]]
    return pd.DataFrame(
        columns
        | {
            "outcome": label_outcomes.outcome_words(labels.outcomes[found]),
            "confidence": labels.confidence[found],
            "p_clean": evidence.suspects_of(labels.view).p_clean[found],
            "first_flip": pd.array(np.where(first[found] < 0, None, first[found]), "Int64"),
            "last_flip": pd.array(np.where(last[found] < 0, None, last[found]), "Int64"),
            "flips": n[found],
        }
    )
