"""A run in numbers, and its labels as a table."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from engine.analysis.label_issues import LabelIssues, label_issues
from engine.errors import StoreError
from engine.runs.folder import Run
from engine.tables import write_rows

COLUMNS = (
    "sample", "given_label", "corrected_label", "probability", "p_clean", "suspicious",
    "neighbors", "label_quality", "soft_label_argmax", "soft_probability",
)  # fmt: skip


def summary(run: Run) -> dict[str, Any]:
    """A run in numbers, up to its newest epoch; None for what is not known.

    Shares are in [0, 1]. test_accuracy_best is the test accuracy of best_epoch, which
    best_chosen_on names ("validation" or "test"; chosen on test, it is no honest estimate).
    memorized: share of wrong given labels that the network predicts after the last epoch.
    label_accuracy_corrected: of the raw result of correction, not of the changes that `export`
    proposes. clean_auroc: P(clean) against whether the current label is right. detection_auroc: the
    same for the given label, by `metrics.normalized_margin`. seconds: of all epochs and all stages
    of each, including the snapshot and passing it to the writing thread; pauses are not.
    """
    config, info, records = run.config, run.info, run.epochs
    last = records[-1]["metrics"] if records else {}
    settings = records[-1]["settings"] if records else {}
    best, chosen_on = _best(run, records)
    given_right = None if info["rate_actual"] is None else 1 - info["rate_actual"]
    return {
        "dataset": config.dataset,
        "n_train": info["data"]["n"],
        "network": info["network"],
        "method": config.method,
        "noise": config.noise,
        "rate_requested": info["rate_requested"],
        "rate_actual": info["rate_actual"],
        "k": settings.get("k", config.k),
        "alpha": settings.get("alpha", config.alpha),
        "seed": config.seed,
        "epochs": len(records),
        "epochs_planned": config.epochs - info["first_epoch"],
        "state": run.status["state"],
        "device": info["device"],
        "precision": info["precision"],
        "seconds": round(sum(sum(r["seconds"].values()) for r in records), 2),
        "test_accuracy_last": last.get("test_accuracy"),
        "test_accuracy_best": best["metrics"].get("test_accuracy") if best else None,
        "best_epoch": best["epoch"] if best else None,
        "best_chosen_on": chosen_on,
        "test_calibration_error": last.get("test_calibration_error"),
        "label_accuracy_given": given_right,
        "label_accuracy_corrected": last.get("label_accuracy"),
        "changed_labels": last.get("changed_labels"),
        "clean_auroc": last.get("clean_auroc"),
        "detection_auroc": last.get("detection_auroc"),
        "fit_clean": last.get("fit_clean"),
        "memorized": last.get("memorized"),
        "mixture_warning": records[-1]["mixture"]["warning"] if records else None,
        "notes": info["data"]["notes"],
        "commit": info["machine"]["commit"],
    }


def export(run: Run, path: Path | str, issues: LabelIssues | None = None) -> int:
    """Write one row per training sample as CSV; returns how many are suspicious.

    Columns, by `label_issues` (issues: if the caller has them already): sample (file name or row
    number), given_label, corrected_label (class names; the given one unless a change is proposed),
    probability (calibrated, of the class that the network predicts), p_clean (of the given label,
    before correction; empty where not known), suspicious ("yes" or "no"), neighbors (samples it was
    last mixed with, by ";"), label_quality (how likely the given label is right), soft_label_argmax
    and soft_probability (the raw result of correction, and its weight), and true_label where it is
    known. Where `LabelIssues.warning` is set, no change is proposed.
    Texts that a spreadsheet would run begin with an apostrophe, see engine/tables.py. Appears
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
    run: Run, at: int | None = None, issues: LabelIssues | None = None
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
    neighbors = run.mixed_with(mixed[-1])[0] if mixed else np.empty((n, 0), int)
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


def _best(run: Run, records: list[dict[str, Any]]) -> tuple[dict[str, Any] | None, str | None]:
    """The best epoch's record, and the split that chose it."""
    by_validation = run.config.best_on == "validation" and run.info["data"]["has_validation"]
    key, split = ("val_accuracy", "validation") if by_validation else ("test_accuracy", "test")
    counted = [record for record in records if record["metrics"].get(key) is not None]
    if not counted:
        return None, None
    return max(counted, key=lambda record: record["metrics"][key]), split
