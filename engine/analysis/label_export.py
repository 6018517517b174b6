"""The labels of a run as rows and as a CSV file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from engine.analysis.label_issues import CHANGE, KEEP, REVIEW, LabelIssues, label_issues
from engine.analysis.review import AUTO, REMOVE, FinalLabels, final_labels, sample_ids
from engine.errors import StoreError
from engine.files import joined, rows_text, write_rows, written_whole
from engine.runs.folder import RunFolder

COLUMNS = (
    "sample", "given_label", "predicted_label", "probability", "decision", "corrected_label",
    "is_label_issue", "label_quality", "p_clean", "reason", "neighbors", "soft_label_argmax",
    "soft_probability", "reviewed", "reviewed_at",
)  # fmt: skip


def export(
    run: RunFolder,
    path: Path | str,
    issues: LabelIssues | None = None,
    final: FinalLabels | None = None,
) -> int:
    """Write one row per training sample as CSV; returns how many have a label issue.

    Columns, by `label_issues` (issues: if the caller has them already); names as in cleanlab where
    it has them:

    - sample: file name or row number; given_label
    - predicted_label: the class that network and votes suggest, and its probability by the votes
      and the estimated noise
    - decision: "change" (to corrected_label), "remove" (belongs to no class), "skip", "review"
      (look at it) or "keep"
    - corrected_label: the label of `final`, by default with all proposed changes; empty if removed
    - is_label_issue: whether it is among the labels estimated to be wrong; label_quality: a score
      of the given label in [0, 1], the lowest are the most suspicious; reason: why it is doubted
    - p_clean: P(clean) of the given label in the last epoch before correction; empty if unknown
    - neighbors: samples it was last mixed with, by ";"; see `files.joined`
    - soft_label_argmax and soft_probability: the raw result of correction, and its weight
    - reviewed: whether somebody decided on it, and reviewed_at: when, if that is known
    - true_label, where it is known

    Where `LabelIssues.warning` is set, no change is proposed.
    Texts that a spreadsheet would run begin with an apostrophe, see engine/files.py. To read a
    class called NA as a text: pandas.read_csv(path, keep_default_na=False, na_values=[""]).
    Appears whole or not at all. Raises StoreError for a run without an epoch.
    """
    if not run.epochs:
        raise StoreError(f"{run.folder} has no epoch yet: there is nothing to export")
    n_issues = 0
    with (
        written_whole(Path(path)) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        columns = _columns(run)
        write_rows(file, [columns])
        for row in label_rows(run, issues=issues, final=final):
            n_issues += row["is_label_issue"] == "True"
            write_rows(file, [[row[name] for name in columns]])
    return n_issues


def labels_csv(run: RunFolder, issues: LabelIssues, final: FinalLabels | None = None) -> str:
    """What `export` writes, as text. Raises StoreError for a run without an epoch."""
    columns = _columns(run)
    rows = label_rows(run, issues=issues, final=final)
    return rows_text([columns, *([row[name] for name in columns] for row in rows)])


def _columns(run: RunFolder) -> tuple[str, ...]:
    return COLUMNS + (("true_label",) if "true" in run.labels else ())


def label_rows(
    run: RunFolder,
    at: int | None = None,
    issues: LabelIssues | None = None,
    final: FinalLabels | None = None,
) -> Iterator[dict[str, Any]]:
    """The rows that `export` writes, in the order of the samples; at: row of the epoch, or last."""
    records = run.epochs
    at = len(records) - 1 if at is None else at
    classes, labels = run.info["data"]["classes"], run.labels
    issues = issues or label_issues(run, at)
    final = final or final_labels(issues, {})
    n, ids = len(issues.given), sample_ids(run)
    flagged = np.isin(np.arange(n), issues.flagged)
    mixed = [row for row, record in enumerate(records[: at + 1]) if record["n_neighbors"]]
    neighbors = run.mixing_of(mixed[-1])[0] if mixed else np.empty((n, 0), int)
    for i in range(n):
        how, changed = final.how[i], final.labels[i] != issues.given[i]
        reviewed = how not in ("", AUTO)
        row = {
            "sample": ids[i],
            "given_label": classes[issues.given[i]],
            "predicted_label": classes[issues.suggested[i]],
            "probability": format_share(issues.probability[i]),
            "decision": how if reviewed else CHANGE if changed else REVIEW if flagged[i] else KEEP,
            "corrected_label": "" if how == REMOVE else classes[final.labels[i]],
            "is_label_issue": str(bool(flagged[i])),
            "label_quality": f"{issues.quality[i]:.6f}",
            "p_clean": format_share(issues.p_clean[i]),
            "reason": issues.reason(i, classes) if flagged[i] else "",
            "neighbors": joined(ids[j] for j in neighbors[i]),
            "soft_label_argmax": classes[issues.soft_argmax[i]],
            "soft_probability": f"{issues.soft_weight[i]:.6f}",
            "reviewed": str(reviewed),
            "reviewed_at": final.at[i],
        }
        if "true" in labels:
            row["true_label"] = classes[labels["true"][i]]
        yield row


def format_share(share: float) -> str:
    """A share as text for a table; empty for nan."""
    return "" if np.isnan(share) else f"{share:.6f}"
