"""The runs of a folder as table rows, read again only where a file changed."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.analysis import run_changes
from engine.analysis.run_changes import MACHINE_SETTINGS, settings_of
from engine.analysis.summary import summary
from engine.caching import newest
from engine.config import RunConfig
from engine.config.rules import unused_settings
from engine.errors import StoreError
from engine.files import printable
from engine.runs import annotation, listing
from engine.runs.folder import open_run

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
RUN_FILES = (
    "config.json", "epochs.jsonl", "epochs.json", "status.json", "labels.npz", annotation.FILE,
)  # fmt: skip
SWEEP_AXES = ("k", "alpha", "rate")  # the axes of a sweep
METRICS = {  # column -> title; all are shares in [0, 1]
    "test_last": "Test accuracy, last epoch",
    "test_best": "Test accuracy, best epoch",
    "labels_right": "Labels right",
    "memorized": "Memorized",
    "auroc": "Clean AUROC",
}
COLUMNS = (
    "name", "state", "dataset", "method", "noise", "rate", "rate_actual", "k", "alpha", "seed",
    "epochs", "planned", *METRICS, "changed", "parent", "note", "created", "message",
)  # fmt: skip


def rows(
    root: Path,
    active: Mapping[str, str] | None = None,
    *,
    shown: Callable[[Path], bool] = lambda folder: True,
) -> list[Row]:
    """One row per run in a folder, newest first; keys are COLUMNS and these:

    title: the name that people gave it, or "". config: its settings, the live ones as in its first
    epoch, and settings: the same by name; None where they cannot be read. setup: the settings
    but for seed, K, alpha and noise rate, as text; family: but for the seed alone. beside: settings
    beside the preset's.
    changes: list of `run_changes.Change`; fork: `run_changes.Fork` or None; pure: neither of both.
    k and alpha are those of the newest epoch, None where they have no effect.

    active: name -> state of runs that a registry knows better than the files (queued, paused). A
    run that cannot be read has state "broken" and a message; missing numbers are None.
    shown: which run folders are listed.
    """
    active = active or {}
    on_disk = [
        _row(folder, active.get(printable(folder.name)))
        for folder in listing.run_folders(root)
        if shown(folder)
    ]
    names = {row["name"] for row in on_disk}
    waiting = [_blank(name, state) for name, state in active.items() if name not in names]
    return waiting + sorted(on_disk, key=lambda row: row["created"] or "", reverse=True)


def name_of(folder: Path) -> str:
    """The name of the run in a folder, as in its row."""
    return printable(folder.name)


def table(rows: Iterable[Row]) -> pd.DataFrame:
    """Rows as a data frame of COLUMNS."""
    import pandas as pd  # late: pages without a table do not need it

    frame = pd.DataFrame([{name: row[name] for name in COLUMNS} for row in rows], columns=COLUMNS)
    numbers = ["rate", "rate_actual", "alpha", *METRICS]
    frame[numbers] = frame[numbers].astype(float)
    whole = ["k", "seed", "epochs", "planned"]
    frame[whole] = frame[whole].astype("Int64")
    frame["created"] = pd.to_datetime(frame["created"], utc=True, errors="coerce")
    return frame


def rows_matching(frame: pd.DataFrame, words: str) -> pd.Series:
    """Which rows of `table` contain each of these words in any column; case is ignored."""
    import pandas as pd

    lines = frame.itertuples(index=False)
    texts = pd.Series([" ".join(map(str, line)).lower() for line in lines], frame.index, str)
    matches = pd.Series(True, index=frame.index)
    for word in words.lower().split():
        matches &= texts.str.contains(word, regex=False)
    return matches


def _row(folder: Path, state: str | None) -> Row:
    """A row with the current state; all else is as old as the files."""
    row = _cached(folder, _stamp(folder))
    if state is None and row["state"] == "running":  # no file says whether the writer is alive
        with contextlib.suppress(StoreError):
            state = open_run(folder).status["state"]
    return row if state is None else row | {"state": state}


@newest(maxsize=4096)
def _cached(folder: Path, stamp: tuple[int, ...]) -> Row:
    row = _blank(printable(folder.name), "broken")
    notes = annotation.read_annotation(folder)
    row |= {"title": notes.title, "note": notes.note}
    try:
        run = open_run(folder)
        records, numbers = run.epochs, summary(run)
        run.labels  # noqa: B018 - a run without them is broken, too
        first = run_changes.first_settings(run.config, records)
        changes, fork = run_changes.live_changes(first, records), run_changes.fork_of(run)
    except StoreError as error:
        return row | {"message": str(error).replace(f"{folder.parent}{os.sep}", "")}
    unused = unused_settings(first)
    return row | {
        "state": numbers["state"],
        "dataset": numbers["dataset"],
        "method": numbers["method"],
        "noise": numbers["noise"],
        "rate": numbers["rate_requested"],
        "k": None if "k" in unused else numbers["k"],
        "rate_actual": numbers["rate_actual"],
        "alpha": None if "alpha" in unused else numbers["alpha"],
        "seed": numbers["seed"],
        "epochs": numbers["epochs"],
        "planned": numbers["epochs_planned"],
        "test_last": numbers["test_accuracy_last"],
        "test_best": numbers["test_accuracy_best"],
        "labels_right": numbers["label_accuracy_corrected"],
        "memorized": numbers["memorized"],
        "auroc": numbers["clean_auroc"],
        "created": run.info.get("created"),
        "parent": f"{fork.parent}, epoch {fork.epoch}" if fork else "",
        "changed": ", ".join(map(run_changes.change_in_words, changes)),
        "config": first,
        "settings": settings_of(first),
        "beside": run_changes.beside_preset(first),
        "changes": changes,
        "fork": fork,
        "pure": not changes and fork is None,
        "setup": setup_of(first, {*SWEEP_AXES, "seed"}),
        "family": setup_of(first, {"seed"}),
    }


def setup_of(config: RunConfig, without: Iterable[str]) -> str:
    """The settings that have an effect as text, without some and without those of the machine.

    A noise seed that is the run's seed, as by default, is no value of its own.
    """
    settings = settings_of(config)
    if settings["noise_seed"] == settings["seed"]:
        settings["noise_seed"] = "seed"
    skip = MACHINE_SETTINGS | unused_settings(config) | set(without)
    kept = {name: value for name, value in settings.items() if name not in skip}
    return json.dumps(kept, sort_keys=True, default=str)


def _blank(name: str, state: str) -> Row:
    empty = dict.fromkeys(COLUMNS)
    texts = dict.fromkeys(("title", "note", "parent", "changed", "message", "setup", "family"), "")
    others: Row = dict(config=None, settings=None, beside={}, changes=[], fork=None, pure=False)
    return empty | texts | others | {"name": name, "state": state}


def _stamp(folder: Path) -> tuple[int, ...]:
    """Changes whenever a file of the run does; starts with 0 where there is no run."""
    stamps = []
    for name in RUN_FILES:
        try:
            stat = os.stat(folder / name)
            stamps += [stat.st_mtime_ns, stat.st_size, stat.st_ino]
        except OSError:
            stamps += [0, 0, 0]
    return tuple(stamps)
