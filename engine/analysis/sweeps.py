"""Sweeps: the runs of a folder that differ in K, alpha, noise rate and seed, as means over seeds.

A run that was changed while it trained, and a fork, is no run with one K or one alpha: it is left
out unless it is included. A seed counts once, however many runs have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.analysis import run_table
from engine.analysis.run_changes import differing_settings
from engine.analysis.run_table import SWEEP_AXES, Row
from engine.analysis.statistics import means
from engine.config import METHOD_DEFAULTS
from engine.files import printable
from engine.runs import listing

if TYPE_CHECKING:
    import pandas as pd


def sweep_folders(
    root: Path, *, shown: Callable[[Path], bool] = lambda folder: True
) -> dict[str, Path]:
    """Name -> folder, root included, of those whose runs differ in K, alpha or noise rate.

    The one with the most combinations comes first. shown: which run folders count.
    """
    folders, sizes = {}, {}
    for folder in listing.folders_without_runs(root):
        counted = [row for row in run_table.rows(folder, shown=shown) if row["settings"]]
        if any(len({row[axis] for row in counted}) > 1 for axis in SWEEP_AXES):
            name = "all runs" if folder == root else printable(folder.relative_to(root).as_posix())
            folders[name] = folder
            sizes[name] = len({tuple(row[axis] for axis in SWEEP_AXES) for row in counted})
    return dict(sorted(folders.items(), key=lambda item: -sizes[item[0]]))


def sweeps_by_setup(rows: Iterable[Row], *, mixed: bool = False) -> dict[str, list[Row]]:
    """Finished runs that differ only in K, alpha, rate and seed, by the settings they share.

    mixed: also forks and runs that were changed while they trained; their K and alpha are those of
    the last epoch. Groups in which no setting varies are left out; the largest comes first.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row["settings"] and row["state"] == "done" and (row["pure"] or mixed):
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
    """A sweep in numbers: k, alpha, rate and, over the seeds, the columns of `statistics.means`.

    A seed of several runs counts once, with their mean; n_runs counts the runs. An axis without
    effect on these runs is 0.
    """
    import pandas as pd

    keys = [*SWEEP_AXES, "seed"]
    frame = pd.DataFrame(group)[[*keys, metric]].astype(float)
    frame[list(SWEEP_AXES)] = frame[list(SWEEP_AXES)].fillna(0.0)
    frame = frame.dropna()
    by_seed = frame.groupby(keys)[[metric]].mean().reset_index()
    cells = means(by_seed, SWEEP_AXES, [metric])
    counts = frame.groupby(list(SWEEP_AXES), as_index=False).size()
    return cells.merge(counts.rename(columns={"size": "n_runs"}), on=list(SWEEP_AXES))


def sweep_caption(cells: pd.DataFrame, words: str, n_unfinished: int, n_mixed: int) -> str:
    """What a heat map of `sweep_cells` is based on, in sentences.

    n_unfinished: runs of the folder that have not finished. n_mixed: forks and runs changed while
    they trained that are left out.
    """
    text = f"{words}: {_runs(int(cells['n_runs'].sum()), 'finished ')} in {len(cells)} cells, "
    text += "mean over seeds"
    if n_single := int((cells["n"] == 1).sum()):
        text += f"; {n_single} of the cells have a single seed"
    repeated = int(cells["n_runs"].sum() - cells["n"].sum())
    if repeated:
        text += f"; {_runs(repeated)} repeat a seed, which counts once"
    if n_unfinished:
        text += f"; {_runs(n_unfinished)} of the folder not finished, left out"
    if n_mixed:
        text += f"; {_runs(n_mixed)} forked or changed while training, left out"
    return text + "."


def _runs(n: int, kind: str = "") -> str:
    return f"{n} {kind}run{'' if n == 1 else 's'}"
