"""Predicted probabilities of one's own: read, checked, and their label issues as a table."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from engine.analysis.label_export import format_share
from engine.analysis.label_issues import LabelIssues
from engine.data import tables
from engine.errors import DataError, StoreError
from engine.files import write_rows

KEYS = ("probabilities", "pred_probs", "predictions")  # of an .npz
SUFFIXES = (".npy", ".npz", ".csv", ".tsv", ".jsonl", ".parquet")
SUM_TOLERANCE = 0.01
COLUMNS = (
    "sample",
    "given_label",
    "predicted_label",
    "probability",
    "decision",
    "corrected_label",
    "is_label_issue",
    "label_quality",
    "reason",
)  # fmt: skip, as in `label_export`


def read_probabilities(path: Path | str, classes: Sequence[str], n: int) -> np.ndarray:
    """(N, C) float32, rows sum to 1, from a file.

    .npy; .npz with probabilities (or pred_probs); a table with a column for each class, by its
    name. Raises DataError unless there is a row for each of n samples and a column for each class.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        raise DataError(f"{path} is no file; probabilities need one of {', '.join(SUFFIXES)}")
    try:
        if path.suffix.lower() == ".npy":
            values = np.load(path, allow_pickle=False)
        elif path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as file:
                key = next((key for key in KEYS if key in file), None)
                if key is None:
                    raise DataError(f"{path} has {', '.join(file)}; needed is one of {KEYS}")
                values = file[key]
        else:
            values = _columns(path, classes)
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read: {error}") from None
    return checked_probabilities(values, len(classes), n, str(path))


def checked_probabilities(values: np.ndarray, n_classes: int, n: int, where: str) -> np.ndarray:
    """The same as float32, rows scaled to sum to 1 exactly. Raises DataError, see above."""
    if values.shape != (n, n_classes) or values.dtype.kind not in "fiu":
        raise DataError(
            f"{where} has type {values.dtype} and shape {values.shape}; allowed are probabilities "
            f"(N, C) = ({n}, {n_classes}), one row per sample in its order, one column per class"
        )
    values = values.astype(np.float64)
    sums = values.sum(1)
    wrong = ~((values >= 0).all(1) & (np.abs(sums - 1) <= SUM_TOLERANCE))  # true for nan
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{where}: row {row} has {values[row].min():g} to {values[row].max():g} and sum "
            f"{sums[row]:g}; allowed are probabilities from 0 whose rows sum to 1 (of logits, the "
            "softmax)"
        )
    return (values / sums[:, None]).astype(np.float32)


def write_issues(
    issues: LabelIssues, classes: Sequence[str], ids: Sequence[str], path: Path | str
) -> None:
    """Write one row per sample as CSV, the columns of `label_export` that need no run.

    Appears whole or not at all. Raises StoreError.
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            write_rows(file, [COLUMNS, *_rows(issues, classes, ids)])
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written: {error}") from error


def _rows(
    issues: LabelIssues, classes: Sequence[str], ids: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    flagged, decisions = set(issues.flagged.tolist()), issues.decisions()
    for i in range(len(issues.given)):
        yield (
            ids[i],
            classes[issues.given[i]],
            classes[issues.suggested[i]],
            format_share(issues.probability[i]),
            decisions[i],
            classes[issues.proposed[i]],
            str(i in flagged),
            f"{issues.quality[i]:.6f}",
            issues.reason(i, classes) if i in flagged else "",
        )


def _columns(path: Path, classes: Sequence[str]) -> np.ndarray:
    rows = tables.read_rows(path.read_bytes(), path.name)
    missing = [name for name in classes if rows and name not in rows[0]]
    if missing:
        raise DataError(
            f"{path} has no column {missing[0]!r}; needed is a column for each class, by its name"
        )
    return np.array([[float(row[name]) for name in classes] for row in rows], dtype=np.float64)
