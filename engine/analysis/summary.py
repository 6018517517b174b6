"""A run in numbers."""

from collections.abc import Sequence
from typing import Any

from engine.runs.folder import RunFolder


def summary(run: RunFolder) -> dict[str, Any]:
    """A run in numbers, up to its newest epoch; None for what is not known.

    Shares are in [0, 1]. test_accuracy_last is of the newest epoch that was tested (setting
    test_interval), in a finished run the last one. test_accuracy_best is that of best_epoch, which
    best_chosen_on names ("validation" or "test"; chosen on test, it is no honest estimate).
    memorized: share of wrong given labels that the network predicts after the last epoch.
    label_accuracy_corrected: of the raw result of correction, not of the changes that `export`
    proposes. clean_auroc: P(clean) against whether the current label is right. detection_auroc: the
    same for the given label, by `metrics.normalized_margin`. seconds: of all epochs and all stages
    of each, including the snapshot and passing it to the writing thread; pauses are not.
    """
    config, info, records = run.config, run.info, run.epochs
    last = records[-1]["metrics"] if records else {}
    tested = newest_test(records)
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
        "test_accuracy_last": tested.get("test_accuracy"),
        "test_accuracy_best": best["metrics"].get("test_accuracy") if best else None,
        "best_epoch": best["epoch"] if best else None,
        "best_chosen_on": chosen_on,
        "test_calibration_error": tested.get("test_calibration_error"),
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


def newest_test(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The metrics of the newest epoch whose test accuracy is known; {} where none is."""
    metrics = (record["metrics"] for record in reversed(records))
    return next((m for m in metrics if m.get("test_accuracy") is not None), {})


def _best(
    run: RunFolder, records: list[dict[str, Any]]
) -> tuple[dict[str, Any] | None, str | None]:
    """The best epoch's record, and the split that chose it."""
    by_validation = run.config.best_on == "validation" and run.info["data"]["has_validation"]
    key, split = ("val_accuracy", "validation") if by_validation else ("test_accuracy", "test")
    counted = [record for record in records if record["metrics"].get(key) is not None]
    if not counted:
        return None, None
    return max(counted, key=lambda record: record["metrics"][key]), split
