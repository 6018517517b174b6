"""Which folders below a root hold runs, without reading the runs."""

import os
from collections.abc import Iterator
from pathlib import Path

MAX_DEPTH = 3  # folders below a root that are searched for sweeps


def run_folders(root: Path) -> list[Path]:
    """Folders directly below root that hold a run, or what is left of one."""
    return [Path(entry.path) for entry in _folders(root) if is_run(entry.path)]


def holds_runs(folder: Path | str) -> bool:
    """Whether a folder that is no run contains folders that may be runs: a sweep."""
    parts = {entry.name for entry in _folders(folder)}
    return bool(parts) and not parts & {"arrays", "states"}


def folders_without_runs(folder: Path, depth: int = MAX_DEPTH) -> Iterator[Path]:
    """A folder and those below it, at most `depth` levels, that are no runs themselves."""
    yield folder
    if depth:
        for entry in _folders(folder):
            if not is_run(entry.path):
                yield from folders_without_runs(Path(entry.path), depth - 1)


def is_run(folder: Path | str) -> bool:
    """Whether a folder has the settings of a run, its first file."""
    return os.path.exists(os.path.join(folder, "config.json"))


def _folders(root: Path | str) -> list[os.DirEntry]:
    try:
        with os.scandir(root) as entries:
            return [e for e in entries if not e.name.startswith(".") and e.is_dir()]
    except OSError:
        return []
