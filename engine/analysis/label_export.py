"""The labels of a run as rows and as a CSV file."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from engine.analysis.label_issues import LabelIssues, label_issues
from engine.errors import StoreError
from engine.files import write_rows
from engine.runs.folder import RunFolder

COLUMNS = (
    "sample", "given_label", "corrected_label", "probability", "p_clean", "suspicious",
    "neighbors", "label_quality", "soft_label_argmax", "soft_probability",
)  # fmt: skip


def export(run: RunFolder, path: Path | str, issues: LabelIssues | None = None) -> int:
    """Write one row per training sample as CSV; returns how many are suspicious.

    Columns, by `label_issues` (issues: if the caller has them already): sample (file name or row
    number), given_label, corrected_label (class names; the given one unless a change is proposed),
    probability (calibrated, of the class that the network predicts), p_clean (of the given label,
    before correction; empty where not known), suspicious ("yes" or "no"), neighbors (samples it was
    last mixed with, by ";"), label_quality (how likely the given label is right), soft_label_argmax
    and soft_probability (the raw result of correction, and its weight), and true_label where it is
    known. Where `LabelIssues.warning` is set, no change is proposed.
    Texts that a spreadsheet would run begin with an apostrophe, see engine/files.py. Appears
    whole or not at all. Raises StoreError for a run without an epoch.
    """
    if not run.epochs:
        raise StoreError(f"{run.folder} has no epoch yet: there is nothing to export")
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    n_suspicious = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            columns = COLUMNS + (("true_label",) if "true" in run.labels else ())
            write_rows(file, [columns])
            for row in label_rows(run, issues=issues):
                n_suspicious += row["suspicious"] == "yes"
                write_rows(file, [[row[name] for name in columns]])
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written: {error}") from error
    return n_suspicious


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
    suspicious = np.isin(np.arange(n), issues.flagged)
    mixed = [row for row, record in enumerate(records[: at + 1]) if record["n_neighbors"]]
    neighbors = run.mixing_of(mixed[-1])[0] if mixed else np.empty((n, 0), int)
    for i in range(n):
        row = {
            "sample": ids[i],
            "given_label": classes[issues.given[i]],
            "corrected_label": classes[issues.proposed[i]],
            "probability": f"{issues.probability[i]:.6f}",
            "p_clean": format_share(issues.p_clean[i]),
            "suspicious": "yes" if suspicious[i] else "no",
            "neighbors": ";".join(ids[j] for j in neighbors[i]),
            "label_quality": f"{issues.quality[i]:.6f}",
            "soft_label_argmax": classes[issues.soft_argmax[i]],
            "soft_probability": f"{issues.soft_weight[i]:.6f}",
        }
        if "true" in labels:
            row["true_label"] = classes[labels["true"][i]]
        yield row


def format_share(share: float) -> str:
    """A share as text for a table; empty for nan."""
    return "" if np.isnan(share) else f"{share:.6f}"
