"""All runs of a folder as table rows, read again only where a file changed; sweeps among them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.analysis.statistics import means
from engine.analysis.summary import summary
from engine.caching import newest
from engine.config import RunConfig
from engine.errors import StoreError
from engine.files import printable
from engine.runs.folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
FILES = ("config.json", "epochs.jsonl", "epochs.json", "status.json", "labels.npz")
SWEPT = ("k", "alpha", "rate")  # the axes of a sweep
MACHINE = {
    "device", "precision", "compile", "threads", "state_interval", "checkpoint_every", "panel_size",
}  # fmt: skip
METRICS = {  # column -> what it is called; all are shares in [0, 1]
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
DEPTH = 3  # folders below the runs root that are searched for sweeps


def rows(
    root: Path,
    active: Mapping[str, str] | None = None,
    *,
    shown: Callable[[Path], bool] = lambda folder: True,
) -> list[Row]:
    """One row per run in a folder, newest first; keys are COLUMNS, and "setup" and "settings".

    active: name -> state of runs that a registry knows better than the files (queued, paused). A
    run that cannot be read has state "broken" and a message; numbers that are not there are None.
    shown: which run folders are listed.
    """
    active = active or {}
    found = [
        _row(folder, active.get(printable(folder.name)))
        for folder in run_folders(root)
        if shown(folder)
    ]
    there = {row["name"] for row in found}
    waiting = [_blank(name, state) for name, state in active.items() if name not in there]
    return waiting + sorted(found, key=lambda row: row["created"] or "", reverse=True)


def table(found: Iterable[Row]) -> pd.DataFrame:
    """Rows as a data frame of COLUMNS."""
    import pandas as pd  # late: pages without a table need none

    frame = pd.DataFrame([{name: row[name] for name in COLUMNS} for row in found], columns=COLUMNS)
    numbers = ["rate", "rate_actual", "alpha", *METRICS]
    frame[numbers] = frame[numbers].astype(float)
    whole = ["k", "seed", "epochs", "planned"]
    frame[whole] = frame[whole].astype("Int64")
    frame["created"] = pd.to_datetime(frame["created"], utc=True, errors="coerce")
    return frame


def bears(frame: pd.DataFrame, words: str) -> pd.Series:
    """Which rows of `table` hold every one of these words, in any column."""
    import pandas as pd

    lines = frame.itertuples(index=False)
    texts = pd.Series([" ".join(map(str, line)).lower() for line in lines], frame.index, str)
    found = pd.Series(True, index=frame.index)
    for word in words.lower().split():
        found &= texts.str.contains(word, regex=False)
    return found


def run_folders(root: Path) -> list[Path]:
    """Folders right below root that hold a run, or what is left of one."""
    return [Path(entry.path) for entry in _folders(root) if _stamp(Path(entry.path))[0]]


def holds_runs(folder: Path | str) -> bool:
    """Whether a folder that is no run holds folders that may be some: a sweep."""
    parts = {entry.name for entry in _folders(folder)}
    return bool(parts) and not parts & {"arrays", "states"}


def sweep_folders(
    root: Path, *, shown: Callable[[Path], bool] = lambda folder: True
) -> dict[str, Path]:
    """Name -> folder of those, root among them, whose runs differ in K, alpha or noise rate.

    The one with the most combinations comes first. shown: which run folders count.
    """
    found, sizes = {}, {}
    for folder in nested(root):
        seen = [row for row in rows(folder, shown=shown) if row["settings"]]
        if any(len({row[axis] for row in seen}) > 1 for axis in SWEPT):
            name = "all runs" if folder == root else printable(folder.relative_to(root).as_posix())
            found[name] = folder
            sizes[name] = len({tuple(row[axis] for axis in SWEPT) for row in seen})
    return dict(sorted(found.items(), key=lambda item: -sizes[item[0]]))


def setups(found: Iterable[Row]) -> dict[str, list[Row]]:
    """Finished runs that differ only in K, alpha, rate and seeds, named by what tells them apart.

    Sets of runs with nothing swept in them are left out; the largest comes first.
    """
    groups: dict[str, list[Row]] = {}
    for row in found:
        if row["settings"] and row["state"] == "done":
            groups.setdefault(row["setup"], []).append(row)
    swept = [
        group
        for group in groups.values()
        if any(len({row[axis] for row in group}) > 1 for axis in SWEPT)
    ]
    swept.sort(key=len, reverse=True)
    told = differing([group[0]["settings"] for group in swept], ignore={*SWEPT, "seed"})
    named: dict[str, list[Row]] = {}
    for group in swept:
        first = group[0]
        words = [f"{first['dataset']}, {first['method']}, {first['noise']} noise"]
        plain = {"dataset", "noise", "mixing", "loss", "correction"}
        words += [f"{name} {first['settings'][name]}" for name in told if name not in plain]
        named[", ".join(words)] = group
    return named


def cells(group: list[Row], metric: str) -> pd.DataFrame:
    """A sweep in numbers: k, alpha, rate and what `statistics.means` says of the seeds of each."""
    import pandas as pd

    frame = pd.DataFrame(group)[[*SWEPT, metric]].astype(float)
    return means(frame.dropna(), SWEPT, [metric])


def say(cells: pd.DataFrame, words: str, n_unfinished: int) -> str:
    """What a heat map of `cells` rests on, in a sentence."""
    text = f"{words}: {int(cells['n'].sum())} finished runs in {len(cells)} cells, mean over seeds"
    alone = int((cells["n"] == 1).sum())
    if alone:
        text += f"; {alone} cells rest on a single run"
    if n_unfinished:
        text += f"; {n_unfinished} runs of the folder have not finished and are left out"
    return text + "."


def settings_of(config: RunConfig) -> dict[str, Any]:
    """All settings by name; the seed of the noise is named, as a fork does it."""
    settings = config.model_dump()
    if settings["noise_seed"] is None:
        settings["noise_seed"] = settings["seed"]
    return settings


def differing(
    settings: list[dict[str, Any]], *, ignore: Iterable[str] = ()
) -> dict[str, list[Any]]:
    """Settings that are not the same in all runs: name -> their values, in the runs' order."""
    if not settings:
        return {}
    skip = MACHINE | set(ignore)
    return {
        name: [one.get(name) for one in settings]
        for name in settings[0]
        if name not in skip and any(one.get(name) != settings[0][name] for one in settings)
    }


def _row(folder: Path, state: str | None) -> Row:
    """A row whose state is of this moment; all else is as old as the files."""
    row = _cached(folder, _stamp(folder))
    if state is None and row["state"] == "running":  # whether the writer lives, no file says
        with contextlib.suppress(StoreError):
            state = RunFolder(folder).status["state"]
    return row if state is None else row | {"state": state}


@newest(maxsize=4096)
def _cached(folder: Path, stamp: tuple[int, ...]) -> Row:
    row = _blank(printable(folder.name), "broken")
    try:
        run = RunFolder(folder)
        settings, told = settings_of(run.config), summary(run)
        run.labels  # noqa: B018 - a run without them is broken, too
    except StoreError as error:
        return row | {"message": str(error).replace(f"{folder.parent}{os.sep}", "")}
    parent = run.info.get("parent")
    fixed = {n: v for n, v in settings.items() if n not in MACHINE | {*SWEPT, "seed", "noise_seed"}}
    return row | {
        "state": told["state"],
        "dataset": told["dataset"],
        "method": told["method"],
        "noise": told["noise"],
        "rate": told["rate_requested"],
        "k": told["k"],
        "rate_actual": told["rate_actual"],
        "alpha": told["alpha"],
        "seed": told["seed"],
        "epochs": told["epochs"],
        "planned": told["epochs_planned"],
        "test_last": told["test_accuracy_last"],
        "test_best": told["test_accuracy_best"],
        "labels_right": told["label_accuracy_corrected"],
        "memorized": told["memorized"],
        "auroc": told["clean_auroc"],
        "created": run.info.get("created"),
        "parent": f"{Path(parent['run']).name}, epoch {parent['epoch']}" if parent else "",
        "settings": settings,
        "setup": json.dumps(fixed, sort_keys=True, default=str),
    }


def _blank(name: str, state: str) -> Row:
    empty = dict.fromkeys(COLUMNS)
    texts = {"parent": "", "message": "", "setup": "", "settings": None}
    return empty | texts | {"name": name, "state": state}


def nested(folder: Path, depth: int = DEPTH) -> Iterator[Path]:
    """A folder and those below it that are no runs themselves."""
    yield folder
    if depth:
        for entry in _folders(folder):
            if not _stamp(Path(entry.path))[0]:
                yield from nested(Path(entry.path), depth - 1)


def _folders(root: Path | str) -> list[os.DirEntry]:
    try:
        with os.scandir(root) as entries:
            return [e for e in entries if not e.name.startswith(".") and e.is_dir()]
    except OSError:
        return []


def _stamp(folder: Path) -> tuple[int, ...]:
    """Changes whenever a file of the run does; starts with 0 where there is no run."""
    stamps = []
    for name in FILES:
        try:
            stat = os.stat(folder / name)
            stamps += [stat.st_mtime_ns, stat.st_size, stat.st_ino]
        except OSError:
            stamps += [0, 0, 0]
    return tuple(stamps)
