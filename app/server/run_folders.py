"""The run folders of one root: reserved for a queued run, given back, removed."""

import contextlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from app.server.run_info import RunsError
from engine.files import on_disk


def folder_of(root: Path, name: str) -> Path:
    """The folder of a run. Raises RunsError for a name that is no plain folder name."""
    if not name or name != Path(name).name or name.startswith("."):
        raise RunsError(f"run = {name!r}: allowed is the name of a folder in {root.name}/")
    return on_disk(root, name)


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
