"""The labels of a run as rows and as a CSV file."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from engine.analysis.label_issues import LabelIssues, label_issues
from engine.errors import StoreError
from engine.files import rows_text, write_rows
from engine.runs.folder import RunFolder

COLUMNS = (
    "sample", "given_label", "predicted_label", "probability", "decision", "corrected_label",
    "is_label_issue", "label_quality", "p_clean", "reason", "neighbors", "soft_label_argmax",
    "soft_probability",
)  # fmt: skip


def export(run: RunFolder, path: Path | str, issues: LabelIssues | None = None) -> int:
    """Write one row per training sample as CSV; returns how many have a label issue.

    Columns, by `label_issues` (issues: if the caller has them already); names as in cleanlab where
    it has them:

    - sample: file name or row number; given_label
    - predicted_label: the class that network and neighbors suggest, and its probability by the
      neighbors' labels and the estimated noise
    - decision: "change" (to corrected_label), "review" (look at it) or "keep"
    - corrected_label: the given one unless the decision is to change it
    - is_label_issue: whether it is among the labels estimated to be wrong; label_quality: a score
      of the given label in [0, 1], the lowest are the most suspicious; reason: why it is doubted
    - p_clean: P(clean) of the given label in the last epoch before correction; empty if unknown
    - neighbors: samples it was last mixed with, by ";"
    - soft_label_argmax and soft_probability: the raw result of correction, and its weight
    - true_label, where it is known

    Where `LabelIssues.warning` is set, no change is proposed.
    Texts that a spreadsheet would run begin with an apostrophe, see engine/files.py. Appears
    whole or not at all. Raises StoreError for a run without an epoch.
    """
    if not run.epochs:
        raise StoreError(f"{run.folder} has no epoch yet: there is nothing to export")
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    n_issues = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            columns = _columns(run)
            write_rows(file, [columns])
            for row in label_rows(run, issues=issues):
                n_issues += row["is_label_issue"] == "True"
                write_rows(file, [[row[name] for name in columns]])
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written: {error}") from error
    return n_issues


def labels_csv(run: RunFolder, issues: LabelIssues) -> str:
    """What `export` writes, as text. Raises StoreError for a run without an epoch."""
    columns = _columns(run)
    rows = ([row[name] for name in columns] for row in label_rows(run, issues=issues))
    return rows_text([columns, *rows])


def _columns(run: RunFolder) -> tuple[str, ...]:
    return COLUMNS + (("true_label",) if "true" in run.labels else ())


def label_rows(
    run: RunFolder, at: int | None = None, issues: LabelIssues | None = None
) -> Iterator[dict[str, Any]]:
    """The rows that `export` writes, in the order of the samples; at: row of the epoch, or last."""
    records = run.epochs
    at = len(records) - 1 if at is None else at
    classes, labels = run.info["data"]["classes"], run.labels
    issues = issues or label_issues(run, at)
    n = len(issues.given)
    ids = labels["ids"].tolist() if "ids" in labels else [str(i) for i in range(n)]
    flagged, decisions = np.isin(np.arange(n), issues.flagged), issues.decisions()
    mixed = [row for row, record in enumerate(records[: at + 1]) if record["n_neighbors"]]
    neighbors = run.mixing_of(mixed[-1])[0] if mixed else np.empty((n, 0), int)
    for i in range(n):
        row = {
            "sample": ids[i],
            "given_label": classes[issues.given[i]],
            "predicted_label": classes[issues.suggested[i]],
            "probability": format_share(issues.probability[i]),
            "decision": decisions[i],
            "corrected_label": classes[issues.proposed[i]],
            "is_label_issue": str(bool(flagged[i])),
            "label_quality": f"{issues.quality[i]:.6f}",
            "p_clean": format_share(issues.p_clean[i]),
            "reason": issues.reason(i, classes) if flagged[i] else "",
            "neighbors": ";".join(ids[j] for j in neighbors[i]),
            "soft_label_argmax": classes[issues.soft_argmax[i]],
            "soft_probability": f"{issues.soft_weight[i]:.6f}",
        }
        if "true" in labels:
            row["true_label"] = classes[labels["true"][i]]
        yield row


def format_share(share: float) -> str:
    """A share as text for a table; empty for nan."""
    return "" if np.isnan(share) else f"{share:.6f}"
