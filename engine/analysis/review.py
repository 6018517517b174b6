"""Final labels of a run: the given ones, changed by review decisions and by proposals."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from engine.errors import StoreError
from engine.files import raw_cell, read_json

if TYPE_CHECKING:
    from engine.analysis.label_issues import LabelIssues
    from engine.runs.folder import RunFolder

KEEP, CHANGE, REMOVE, SKIP, AUTO = "keep", "change", "remove", "skip", "auto"
KINDS = (KEEP, CHANGE, SKIP, REMOVE)  # of decisions; remove: belongs to no class
UNDECIDED = ("", "review", AUTO)  # in the column decision of a table
SAMPLE = ("sample", "id")  # columns of a table of decisions, the first one that it has counts
LABEL = ("label", "corrected_label", "final")
REVIEW = "review.json"  # of a run folder: the decisions made in the app


class Decided(Protocol):
    """A decision on one sample; the app's have these fields, too."""

    @property
    def kind(self) -> str:
        """One of KINDS."""

    @property
    def label(self) -> int:
        """The class from now on."""

    @property
    def at(self) -> str:
        """When it was made, ISO 8601; "" if not known."""


class Decision(NamedTuple):
    """A decision on one sample from a file."""

    kind: str
    label: int
    at: str = ""


@dataclass(frozen=True, eq=False)
class FinalLabels:
    """The labels of a run's N samples after review."""

    labels: np.ndarray  # (N,) int64; the given label where removed
    removed: np.ndarray  # (N,) bool: belongs to no class
    how: list[str]  # (N,) how each was decided: one of KINDS, "auto" for a proposal, or ""
    at: list[str]  # (N,) when it was decided, ISO 8601, or ""

    def counts(self, given: np.ndarray) -> tuple[int, int, int]:
        """How many labels changed by decisions and by proposals, and how many were removed."""
        changed, auto = self.labels != given, np.array(self.how) == AUTO
        return int((changed & ~auto).sum()), int((changed & auto).sum()), int(self.removed.sum())


def final_labels(
    issues: "LabelIssues",
    decisions: Mapping[int, Decided],
    accept: float | None = 0.0,
) -> FinalLabels:
    """The labels after review. decisions: sample -> decision.

    A sample without a decision gets the proposed label if that has at least the probability accept
    in [0, 1], by default every proposed one; with accept=None it keeps the given one.
    """
    final, n = issues.given.copy(), len(issues.given)
    removed, how, at = np.zeros(n, dtype=bool), [""] * n, [""] * n
    if accept is not None:
        auto = (issues.proposed != final) & (issues.probability >= accept)
        for sample in np.flatnonzero(auto).tolist():
            final[sample], how[sample] = issues.proposed[sample], AUTO
    for sample, decision in decisions.items():
        how[sample], at[sample] = decision.kind, decision.at
        removed[sample] = decision.kind == REMOVE
        final[sample] = issues.given[sample] if removed[sample] else decision.label
    return FinalLabels(final, removed, how, at)


def stored_decisions(run: "RunFolder") -> dict[int, Decision]:
    """The decisions made in the app, which its folder keeps. Raises StoreError if unreadable."""
    path = run.folder / REVIEW
    if not path.exists():
        return {}
    n, n_classes = len(run.labels["given"]), len(run.info["data"]["classes"])
    found: dict[int, Decision] = {}
    try:
        for entry in read_json(path)["log"]:
            sample, kind, label = int(entry["sample"]), str(entry["kind"]), int(entry["label"])
            if kind not in KINDS or not (0 <= sample < n and 0 <= label < n_classes):
                raise ValueError(f"sample {sample}: {kind} {label}")
            found[sample] = Decision(kind, label, str(entry.get("at", "")))
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path} does not fit this run ({error})") from None
    return found


def read_decisions(path: Path, run: "RunFolder") -> dict[int, Decision]:
    """The decisions in a CSV: columns sample (or id), decision, and label for a change.

    sample is what `export` calls it: the file's id, or the row number. The tables that `export` and
    the app write can be edited and read again. Rows without a decision are passed over. Raises
    StoreError, which names the row, its value and what is allowed.
    """
    classes = [str(name) for name in run.info["data"]["classes"]]
    given = run.labels["given"]
    rows = _rows(path)
    names = sample_ids(run)
    sample_of = {name: sample for sample, name in enumerate(names)}
    twice = {name for name, sample in zip(names, range(len(names)), strict=True)
             if sample_of[name] != sample} if len(sample_of) < len(names) else set()  # fmt: skip
    found: dict[int, Decision] = {}
    for number, row in enumerate(rows, 1):
        where = f"{path}, row {number}"
        name = next((row[column] for column in SAMPLE if column in row), "")
        kind = row.get("decision", "").strip().lower()
        if kind in UNDECIDED:
            continue
        if kind not in KINDS:
            raise StoreError(f"{where}: decision {kind!r}; allowed are {', '.join(KINDS)} or empty")
        if name not in sample_of:
            raise StoreError(f"{where}: sample {name!r} is not in {run.folder}")
        if name in twice:
            raise StoreError(f"{where}: several samples of {run.folder} are called {name!r}")
        sample = sample_of[name]
        label = int(given[sample])
        if kind == CHANGE:
            text = next((row[column].strip() for column in LABEL if column in row), "")
            if text not in classes:
                raise StoreError(
                    f"{where}: label {text!r} of a change; allowed are {', '.join(classes[:20])}"
                )
            label = classes.index(text)
        found[sample] = Decision(kind, label, row.get("reviewed_at", ""))
    return found


def sample_ids(run: "RunFolder") -> list[str]:
    """What the samples of a run are called: their files' ids, or else their numbers."""
    if "ids" in run.labels:
        return [str(name) for name in run.labels["ids"].tolist()]
    return [str(i) for i in range(len(run.labels["given"]))]


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV as texts. Raises StoreError."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            head, *lines = list(csv.reader(file, strict=True)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StoreError(f"{path} cannot be read as a CSV in UTF-8: {error}") from None
    if "decision" not in head or not set(SAMPLE) & set(head):
        raise StoreError(
            f"{path} has the columns {', '.join(head) or 'none'}; needed are sample (or id), "
            "decision, and label for changes"
        )
    return [_as_row(head, line, f"{path}, row {n}") for n, line in enumerate(lines, 1) if line]


def _as_row(head: Sequence[str], line: Sequence[Any], where: str) -> dict[str, str]:
    if len(line) != len(head):
        raise StoreError(f"{where} has {len(line)} cells, its head {len(head)}")
    return {key: str(raw_cell(cell)) for key, cell in zip(head, line, strict=True)}
