"""The run folders of one root: their names, what is on disk of a run, new ones, removed ones."""

import contextlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from app.server.access import RunsError, not_there
from app.server.scheduling import RunInfo
from engine.analysis import run_table
from engine.config import RunConfig
from engine.errors import StoreError
from engine.files import on_disk, printable
from engine.runs.folder import RunFolder, open_run
from engine.runs.forks import fork_config
from engine.runs.naming import free_folder
from engine.runs.runner import Runner


def folder_of(root: Path, name: str) -> Path:
    """The folder of a run. Raises RunsError for a name that is no plain folder name."""
    if not name or name != Path(name).name or name.startswith("."):
        raise RunsError(f"run = {name!r}: allowed is the name of a folder in {root.name}/")
    return on_disk(root, name)


def names_in(root: Path) -> list[str]:
    """All runs on disk by the names of their folders, newest first; no folders of sweeps."""
    dated = []
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.is_dir() and not entry.name.startswith("."):
                with contextlib.suppress(OSError):
                    dated.append((entry.stat().st_ctime, entry.name))
                    config = os.stat(os.path.join(entry.path, "config.json"))
                    dated[-1] = (config.st_mtime, entry.name)
                    continue
                if run_table.holds_runs(entry.path):  # a sweep
                    del dated[-1]
    return [printable(name) for _, name in sorted(dated, reverse=True)]


def info_on_disk(root: Path, name: str, owner: str, pinned: bool) -> RunInfo:
    """State and progress of a run as its files say. Raises RunsError where there is no folder."""
    folder = folder_of(root, name)
    if not folder.is_dir():
        raise RunsError(not_there(name))
    try:
        run = open_run(folder)
        status, records = run.status, run.epochs
        return RunInfo(
            name,
            status["state"],
            records[-1]["epoch"] if records else 0,
            run.config.epochs,
            message=status["message"],
            owner=owner,
            pinned=pinned,
        )
    except StoreError as error:
        return RunInfo(name, "broken", message=str(error), owner=owner, pinned=pinned)


def make_runner(root: Path, request: dict[str, Any]) -> Runner:
    """The runner of a request; reserves the folder of a new run or fork, and notes its name."""
    if request["kind"] == "resume":
        return Runner.resume(folder_of(root, request["name"]))
    if request["kind"] == "fork":
        parent = folder_of(root, request["parent"])
        config = fork_config(RunFolder(parent), request["epoch"], **request["knobs"])
    else:
        config = RunConfig(**request["config"])
    if "name" not in request:
        folder = free_folder(config, root)
        folder.mkdir()
        request["name"] = folder.name
    folder = folder_of(root, request["name"])
    if request["kind"] == "fork":
        return Runner.fork(parent, request["epoch"], folder, **request["knobs"])
    return Runner.new(config, folder)


def has_begun(root: Path, request: dict[str, Any]) -> bool:
    """Whether a queued run began just before the server ended, and can be resumed.

    What is half made of one that did not is removed: nothing in it counts.
    """
    if request["kind"] == "resume" or "name" not in request:
        return False
    folder = folder_of(root, request["name"])
    if (folder / "config.json").exists():
        return True
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return False


def give_back(folder: Path) -> bool:
    """Remove the reserved folder of a run that never began; whether it is gone."""
    with contextlib.suppress(OSError):  # gone already, or not empty
        folder.rmdir()
    return not folder.exists()


def remove(folder: Path) -> str:
    """Remove a run's folder, or the link to it; what could not be removed, or ""."""
    failures: list[str] = []

    def note(_: Any, path: str, error: Any) -> None:
        error = error[1] if isinstance(error, tuple) else error
        if not isinstance(error, FileNotFoundError):
            failures.append(f"{os.path.basename(path)} ({getattr(error, 'strerror', error)})")

    try:
        if folder.is_symlink():
            folder.unlink()
        else:
            shutil.rmtree(folder, **{"onexc" if sys.version_info >= (3, 12) else "onerror": note})
    except OSError as error:
        note(None, str(folder), error)
    if not os.path.lexists(folder):
        return ""
    more = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
    return f"{failures[0] if failures else folder.name}{more}"
