"""The run folders of one root: paths by name, reserved folders, removal."""

import contextlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.server.run_info import RunsError
from engine.files import on_disk


def folder_of(root: Path, name: str) -> Path:
    """The folder of a run. Raises RunsError for anything but a plain folder name."""
    if not name or name != Path(name).name or name.startswith("."):
        raise RunsError(f"run = {name!r}: allowed is the name of a folder in {root.name}/")
    return on_disk(root, name)


def has_begun(root: Path, request: dict[str, Any]) -> bool:
    """Whether a queued run started just before the server ended, and can be resumed.

    Otherwise its incomplete folder is emptied.
    """
    if request["kind"] == "resume" or "name" not in request:
        return False
    folder = folder_of(root, request["name"])
    if (folder / "config.json").exists():
        return True
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return False


def release(folder: Path) -> bool:
    """Remove the reserved folder of a run that never started; whether it no longer exists."""
    with contextlib.suppress(OSError):  # already removed, or not empty
        folder.rmdir()
    return not folder.exists()


def remove(folder: Path) -> str:
    """Remove a run's folder, or the link to it; returns what could not be removed, or ""."""
    failures: list[str] = []

    def note(_: Any, path: str, error: Any) -> None:
        error = error[1] if isinstance(error, tuple) else error
        if not isinstance(error, FileNotFoundError):
            failures.append(f"{os.path.basename(path)} ({getattr(error, 'strerror', error)})")

    try:
        if folder.is_symlink():
            folder.unlink()
        else:
            _remove_tree(folder, note)
    except OSError as error:
        note(None, str(folder), error)
    if not os.path.lexists(folder):
        return ""
    more = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
    return f"{failures[0] if failures else folder.name}{more}"


def _remove_tree(folder: Path, note: Callable[[Any, str, Any], None]) -> None:
    """Remove a folder; note is called with (function, path, error) for what cannot be removed."""
    if sys.version_info >= (3, 12):
        shutil.rmtree(folder, onexc=note)
    else:
        shutil.rmtree(folder, onerror=note)
