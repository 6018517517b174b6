"""The runs of a folder as table rows, read again only where a file changed; sweeps among them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.analysis.summary import summary
from engine.caching import newest
from engine.config import METHOD_DEFAULTS, RunConfig
from engine.errors import StoreError
from engine.files import printable
from engine.runs import listing
from engine.runs.folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
RUN_FILES = ("config.json", "epochs.jsonl", "epochs.json", "status.json", "labels.npz")
SWEEP_AXES = ("k", "alpha", "rate")  # the axes of a sweep
MACHINE_SETTINGS = {
    "device", "precision", "compile", "threads", "state_interval", "checkpoint_every", "panel_size",
    "deterministic", "test_interval",
}  # fmt: skip
METRICS = {  # column -> title; all are shares in [0, 1]
    "test_last": "Test accuracy, last epoch",
    "test_best": "Test accuracy, best epoch",
    "labels_right": "Labels right",
    "memorized": "Memorized",
    "auroc": "Clean AUROC",
}
COLUMNS = (
    "name", "state", "dataset", "method", "noise", "rate", "rate_actual", "k", "alpha", "seed",
    "epochs", "planned", *METRICS, "parent", "created", "message",
)  # fmt: skip


def rows(
    root: Path,
    active: Mapping[str, str] | None = None,
    *,
    shown: Callable[[Path], bool] = lambda folder: True,
) -> list[Row]:
    """One row per run in a folder, newest first; keys are COLUMNS, "setup" and "settings".

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


def sweep_folders(
    root: Path, *, shown: Callable[[Path], bool] = lambda folder: True
) -> dict[str, Path]:
    """Name -> folder, root included, of those whose runs differ in K, alpha or noise rate.

    The one with the most combinations comes first. shown: which run folders count.
    """
    folders, sizes = {}, {}
    for folder in listing.folders_without_runs(root):
        readable = [row for row in rows(folder, shown=shown) if row["settings"]]
        if any(len({row[axis] for row in readable}) > 1 for axis in SWEEP_AXES):
            name = "all runs" if folder == root else printable(folder.relative_to(root).as_posix())
            folders[name] = folder
            sizes[name] = len({tuple(row[axis] for axis in SWEEP_AXES) for row in readable})
    return dict(sorted(folders.items(), key=lambda item: -sizes[item[0]]))


def sweeps_by_setup(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Finished runs that differ only in K, alpha, rate and seed, by the settings they share.

    Groups in which no setting varies are left out; the largest comes first.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row["settings"] and row["state"] == "done":
            groups.setdefault(row["setup"], []).append(row)
    swept = [
        group
        for group in groups.values()
        if any(len({row[axis] for row in group}) > 1 for axis in SWEEP_AXES)
    ]
    swept.sort(key=len, reverse=True)
    varying = differing_settings(
        [group[0]["settings"] for group in swept], ignore={*SWEEP_AXES, "seed"}
    )
    named: dict[str, list[Row]] = {}
    for group in swept:
        first = group[0]
        words = [f"{first['dataset']}, {first['method']}, {first['noise']} noise"]
        named_above = {"dataset", "noise", *METHOD_DEFAULTS}
        words += [f"{k} {first['settings'][k]}" for k in varying if k not in named_above]
        named[", ".join(words)] = group
    return named


def sweep_cells(group: list[Row], metric: str) -> pd.DataFrame:
    """A sweep in numbers: k, alpha, rate and, over the seeds, the columns of `statistics.means`."""
    import pandas as pd

    from engine.analysis.statistics import means

    frame = pd.DataFrame(group)[[*SWEEP_AXES, metric]].astype(float)
    return means(frame.dropna(), SWEEP_AXES, [metric])


def sweep_caption(cells: pd.DataFrame, words: str, n_unfinished: int) -> str:
    """How many runs a heat map of `sweep_cells` is based on, in a sentence."""
    text = f"{words}: {int(cells['n'].sum())} finished runs in {len(cells)} cells, mean over seeds"
    n_single = int((cells["n"] == 1).sum())
    if n_single:
        text += f"; {n_single} cells are based on a single run"
    if n_unfinished:
        text += f"; {n_unfinished} runs of the folder have not finished and are left out"
    return text + "."


def settings_of(config: RunConfig) -> dict[str, Any]:
    """All settings by name; an unset noise_seed is resolved to the seed."""
    settings = config.model_dump()
    if settings["noise_seed"] is None:
        settings["noise_seed"] = settings["seed"]
    return settings


def differing_settings(
    settings: list[dict[str, Any]], *, ignore: Iterable[str] = ()
) -> dict[str, list[Any]]:
    """Settings that differ between runs: name -> their values, in the order of the runs."""
    if not settings:
        return {}
    skip = MACHINE_SETTINGS | set(ignore)
    return {
        name: [one.get(name) for one in settings]
        for name in settings[0]
        if name not in skip and any(one.get(name) != settings[0][name] for one in settings)
    }


def _row(folder: Path, state: str | None) -> Row:
    """A row with the current state; all else is as old as the files."""
    row = _cached(folder, _stamp(folder))
    if state is None and row["state"] == "running":  # no file says whether the writer is alive
        with contextlib.suppress(StoreError):
            state = RunFolder(folder).status["state"]
    return row if state is None else row | {"state": state}


@newest(maxsize=4096)
def _cached(folder: Path, stamp: tuple[int, ...]) -> Row:
    row = _blank(printable(folder.name), "broken")
    try:
        run = RunFolder(folder)
        settings, numbers = settings_of(run.config), summary(run)
        run.labels  # noqa: B018 - a run without them is broken, too
    except StoreError as error:
        return row | {"message": str(error).replace(f"{folder.parent}{os.sep}", "")}
    parent = run.info.get("parent")
    fixed = {
        n: v
        for n, v in settings.items()
        if n not in MACHINE_SETTINGS | {*SWEEP_AXES, "seed", "noise_seed"}
    }
    return row | {
        "state": numbers["state"],
        "dataset": numbers["dataset"],
        "method": numbers["method"],
        "noise": numbers["noise"],
        "rate": numbers["rate_requested"],
        "k": numbers["k"],
        "rate_actual": numbers["rate_actual"],
        "alpha": numbers["alpha"],
        "seed": numbers["seed"],
        "epochs": numbers["epochs"],
        "planned": numbers["epochs_planned"],
        "test_last": numbers["test_accuracy_last"],
        "test_best": numbers["test_accuracy_best"],
        "labels_right": numbers["label_accuracy_corrected"],
        "memorized": numbers["memorized"],
        "auroc": numbers["clean_auroc"],
        "created": run.info.get("created"),
        "parent": f"{Path(parent['run']).name}, epoch {parent['epoch']}" if parent else "",
        "settings": settings,
        "setup": json.dumps(fixed, sort_keys=True, default=str),
    }


def _blank(name: str, state: str) -> Row:
    empty = dict.fromkeys(COLUMNS)
    texts = {"parent": "", "message": "", "setup": "", "settings": None}
    return empty | texts | {"name": name, "state": state}


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
