"""Files of JSON and text, written whole and read within limits; folder names beyond UTF-8."""

import contextlib
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from engine.errors import StoreError

MOST_JSON = 64 * 2**20  # bytes of one file
MOST_PARTS = 500_000  # lists and objects in it, each of which takes memory


def write_json(path: Path, value: Any, indent: int | None = None) -> None:
    """Replace a JSON file whole, see `write_text`. Raises ValueError for nan and infinity."""
    write_text(path, json.dumps(value, allow_nan=False, indent=indent))


def write_text(path: Path, text: str) -> None:
    """Replace a file whole; a part of it that a full disk leaves is removed. Raises OSError."""
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_text(text)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """Read a JSON file of at most MOST_JSON bytes and MOST_PARTS parts. Raises StoreError.

    Only regular files are opened: reading a pipe would block forever.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ValueError("it is no plain file")
        with open(path, "rb") as file:
            content = file.read(MOST_JSON + 1)
        if len(content) > MOST_JSON:
            raise ValueError(f"it is larger than {MOST_JSON >> 20} MB")
        if content.count(b"[") + content.count(b"{") > MOST_PARTS:
            raise ValueError(f"it has more than {MOST_PARTS:,} lists and objects")
        return json.loads(content)
    except RecursionError:
        raise StoreError(f"{path} cannot be read: it is nested too deep") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from None


def printable(name: str) -> str:
    """A folder's name as text; bytes that are not UTF-8 become \\udc.., see `on_disk`."""
    return name.encode("utf-8", "backslashreplace").decode()


def on_disk(root: Path, name: str) -> Path:
    """The folder in root that has this printable name."""
    path = root / name
    if "\\udc" in name and not path.exists():
        path = root / re.sub(r"\\udc[89a-f][0-9a-f]", lambda m: chr(int(m[0][2:], 16)), name)
    return path
