"""All checks of a data set in one report; with a run, its network judges the labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.analysis.checks import labels as label_checks
from engine.analysis.checks.annotators import MISSING, annotator_check
from engine.analysis.checks.balance import balance_check
from engine.analysis.checks.duplicates import duplicate_checks, find_duplicates
from engine.analysis.checks.features import space_of
from engine.analysis.checks.images import image_checks, is_blank
from engine.analysis.checks.outliers import outlier_check
from engine.analysis.checks.report import Check, Item, Report, check
from engine.analysis.checks.samples import Samples, samples_of
from engine.data.layout import says_loss
from engine.errors import DataError, StoreError

if TYPE_CHECKING:
    from engine.data import Data
    from engine.runs.folder import RunFolder


def check_data(data: Data, run: RunFolder | None = None) -> Report:
    """All checks of a data set; every image is read once.

    run: a run on this data; its given labels are checked, and its network judges them. Raises
    StoreError where the run is on other data or has no epoch.
    """
    given = None
    if run is not None:
        given = run.labels["given"]
        if len(given) != data.n:
            raise StoreError(
                f"{run.folder} has {len(given):,} training samples, {data.name} {data.n:,}: check "
                "the data that the run is on"
            )
    samples = samples_of(data, given)
    votes, annotators = _annotations(data, samples)
    notes = [note for note in data.notes if not note.startswith("No test part")]
    if data.true_labels is not None:
        true = data.true_labels.cpu().numpy()
        wrong = float((samples.labels[: data.n] != true).mean())
        notes.append(
            f"The true labels are included: {100 * wrong:.1f} % of the given labels differ from "
            "them."
        )
    report = check_samples(
        samples,
        dataset=data.name,
        sizes=_file_sizes(data, samples),
        votes=votes,
        annotators=annotators,
        run=run,
        notes=tuple(notes),
    )
    return replace(report, left_out=data.left_out)


def check_samples(
    samples: Samples,
    *,
    dataset: str = "",
    sizes: np.ndarray | None = None,
    votes: np.ndarray | None = None,
    annotators: tuple[str, ...] = (),
    run: RunFolder | None = None,
    notes: tuple[str, ...] = (),
) -> Report:
    """All checks of images or rows. What needs images is skipped for rows, with a sentence.

    sizes: (M, 2) width and height of the files, 0 where unknown. votes: (M, A) int64 classes of
    several annotators, MISSING where there is none.
    """
    blank = is_blank(samples)
    space = space_of(samples)
    duplicates = find_duplicates(samples, space, blank)
    judgment = label_checks.judge(samples, space, duplicates.near)
    if run is not None:
        judgment = label_checks.judge_by_run(samples, judgment, run)
    checks = [
        *label_checks.label_checks(samples, judgment),
        *duplicate_checks(samples, duplicates),
        outlier_check(samples, space),
        *image_checks(samples, blank, sizes),
        balance_check(samples),
        annotator_check(samples, votes, annotators),
        _loading_check(notes),
    ]
    first = next(iter(samples.parts.values()))
    values = first.images if first.images is not None else first.rows
    assert values is not None  # a part has one of them
    train = samples.labels[samples.rows_of("train")]
    return Report(
        dataset=dataset,
        counts={name: len(part.labels) for name, part in samples.parts.items()},
        shape=tuple(values.shape[1:]),
        classes=samples.classes,
        class_counts=tuple(np.bincount(train, minlength=len(samples.classes)).tolist()),
        health=label_checks.health(judgment),
        evidence=judgment.method if judgment else "Labels were not judged.",
        checks=tuple(checks),
        notes=notes,
    )


def _loading_check(notes: tuple[str, ...]) -> Check:
    items = [Item((), note, float(says_loss(note)) - n / 1e6) for n, note in enumerate(notes)]
    severity = "warning" if any(map(says_loss, notes)) else "note"
    nothing = "Everything was read as it came."
    return check("loading", "Reading the data", items, " ".join(notes), nothing, severity)


def _family_path(data: Data, family: str) -> Path | None:
    name, _, argument = data.name.partition(":")
    return Path(argument).expanduser() if name == family and argument else None


def _file_sizes(data: Data, samples: Samples) -> np.ndarray | None:
    """(M, 2) width and height of the image files of a folder or table; None for other data."""
    table = _family_path(data, "manifest")
    folder = table.parent if table is not None else _family_path(data, "folder")
    if folder is None:
        return None
    from engine.data.image_files import sizes

    ids = [one for part in samples.parts.values() for one in part.ids or [""] * len(part.labels)]
    return sizes([folder / one for one in ids])


def _annotations(data: Data, samples: Samples) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Annotators' labels (M, A) of a table, MISSING where there is none, and their names."""
    table = _family_path(data, "manifest")
    if table is None:
        return None, ()
    from engine.data.manifest import annotations

    try:
        names, by_id = annotations(table)
    except (DataError, OSError):
        return None, ()
    number = {name: c for c, name in enumerate(samples.classes)}
    votes = np.full((len(samples.labels), len(names)), MISSING, dtype=np.int64)
    ids = [one for part in samples.parts.values() for one in part.ids or [""] * len(part.labels)]
    for row, own in enumerate(ids):
        for column, label in enumerate(by_id.get(own, ())):
            votes[row, column] = number.get(label or "", MISSING)
    return (votes, names) if names else (None, ())
