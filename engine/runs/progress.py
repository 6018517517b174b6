"""Progress of many runs, as their folders show it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import StoreError
from engine.runs.folder import open_run
from engine.runs.naming import run_name


@dataclass(frozen=True)
class Progress:
    """Progress of a sweep."""

    n_runs: int
    n_epochs: int  # of all runs
    runs_done: int  # including those that were done before
    epochs_done: int
    running: tuple[str, ...] = ()  # names of the folders
    retried: tuple[str, ...] = ()  # died once and were restarted
    failed: Mapping[str, str] = field(default_factory=dict)  # name -> why, after the last attempt


def n_epochs(folder: Path) -> int:
    """Epochs on disk of the run whose name the folder has; 0 if it does not exist.

    Raises StoreError where the folder holds a run of other settings.
    """
    if not (folder / "config.json").exists():
        return 0
    run = open_run(folder)
    if run_name(run.config) != folder.name:
        raise StoreError(f"{folder} holds a run of other settings: move it away")
    return len(run.epochs)


def is_done(folder: Path) -> bool:
    """Whether the folder holds a finished run. Raises StoreError."""
    return (folder / "config.json").exists() and open_run(folder).status["state"] == "done"
