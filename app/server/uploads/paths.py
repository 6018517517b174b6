"""Where uploads are stored, and which paths of the server a visitor's data set may name.

A folder of the server may be named only inside the folders that the environment variable
MIXNN_FOLDERS lists (separated by colons). Without it none may: a visitor is a stranger.
"""

import os
from pathlib import Path

from engine.data.parts import has_control
from engine.data.registry import OWN

FOLDER = ".uploads"  # in the folder of the runs
INCOMING = ".file"  # name of an upload until its type is known


def upload_key(dataset: str, root: Path) -> str | None:
    """The key of the upload that contains a data set; None if no upload does."""
    home, path = (root / FOLDER).resolve(), resolved(dataset.partition(":")[2])
    if path is None or not path.is_relative_to(home) or path == home:
        return None
    key = path.relative_to(home).parts[0]
    return key if key.isalnum() else None


def may_read(dataset: str, root: Path) -> bool:
    """Whether a visitor may name this data set: a built-in one, an upload, or one in MIXNN_FOLDERS.

    In the folder of the runs only uploads are allowed, even if MIXNN_FOLDERS contains it.
    """
    family, _, text = dataset.partition(":")
    if family not in OWN or upload_key(dataset, root) is not None:
        return not has_control(dataset)
    path = resolved(text)
    return path is not None and not is_inside(path, [root]) and is_inside(path, allowed_folders())


def is_outside(dataset: str, root: Path) -> bool:
    """Whether a data set names a path outside the folder of the runs."""
    path = resolved(dataset.partition(":")[2])
    return path is not None and not is_inside(path, [root])


def allowed_folders() -> list[Path]:
    """The folders of the server that visitors may name, from MIXNN_FOLDERS."""
    given = os.environ.get("MIXNN_FOLDERS", "").split(os.pathsep)
    return [Path(part).expanduser().resolve() for part in given if part.strip()]


def resolved(text: str) -> Path | None:
    """The absolute path, without links, that a text names; None if it is no valid path."""
    if has_control(text):
        return None
    try:
        return Path(text).expanduser().resolve()
    except (OSError, RuntimeError, ValueError):  # ~name of an unknown user
        return None


def is_inside(path: Path, folders: list[Path]) -> bool:
    """Whether a path lies in one of some folders, after links are resolved."""
    real = path.resolve()
    return any(real.is_relative_to(folder.resolve()) for folder in folders)
