"""Files of JSON, text and CSV: written whole, read within limits; folder names beyond UTF-8.

CSV is safe to open in a spreadsheet, and this is its only writer. Class and file names are
untrusted texts, and a spreadsheet executes a cell that begins with "=", "+", "-" or "@" as a
formula. Such a text gets a leading apostrophe (OWASP, CSV Injection), so an image named "-1.png"
becomes "'-1.png"; numbers stay numbers. `raw_cell` removes the apostrophe. Parquet does not need
this: its texts are never executed.
"""

import contextlib
import csv
import io
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TextIO, overload

from engine.errors import StoreError

MOST_JSON = 64 * 2**20  # bytes of one file
MOST_PARTS = 500_000  # lists and objects in it, each of which takes memory
_FORMULA = re.compile(r"'*(\s*[=+\-@＝＋－＠]|\s*[\t\r\n])")  # noqa: RUF001


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


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path to write a file or folder to, which takes the place of `path` when the block ends.

    If the block fails, what it wrote is removed and `path` stays as it was; after a kill, too, only
    a file or folder NAME.tmp beside it remains. A folder may replace an empty one only. Raises
    StoreError where `path` cannot be written.
    """
    if path.is_dir() and any(path.iterdir()):
        raise StoreError(f"{path} is a folder with files in it: name a new one")
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        _remove(temporary)
        temporary.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except UnicodeEncodeError as error:
        raise StoreError(f"{path} cannot be written: a name in it is not UTF-8") from error
    except OSError as error:
        reason = error.strerror or error
        source = error.filename
        if source is not None and not str(source).startswith(str(temporary)):
            reason = f"{source}: {reason}"  # of what is copied
        raise StoreError(f"{path} cannot be written: {reason}") from error
    finally:
        with contextlib.suppress(OSError):
            _remove(temporary)


def _remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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


def safe_cell(value: Any) -> Any:
    """A text that no spreadsheet executes; other values unchanged.

    >>> safe_cell("=1+1"), safe_cell("'=1"), safe_cell("a=1"), safe_cell(-1)
    ("'=1+1", "''=1", 'a=1', -1)
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def raw_cell(value: Any) -> Any:
    """The text that `safe_cell` made safe; other values unchanged.

    >>> raw_cell("'=1+1"), raw_cell("''=1"), raw_cell("'quoted'")
    ('=1+1', "'=1", "'quoted'")
    """
    escaped = isinstance(value, str) and value.startswith("'") and _FORMULA.match(value)
    return value[1:] if escaped else value


def write_rows(file: TextIO, rows: Iterable[Sequence[Any]], delimiter: str = ",") -> None:
    """Write rows, including the header, into a file opened with newline=""."""
    csv.writer(file, delimiter=delimiter).writerows(
        [safe_cell(cell) for cell in row] for row in rows
    )


def joined(texts: Iterable[str]) -> str:
    """Texts as one cell, separated by semicolons; those that hold one are in quotes, as in a CSV.

    >>> joined(["a", "b;c"])
    'a;"b;c"'
    """
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=";", lineterminator="").writerow(list(texts))
    return out.getvalue()


def rows_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows, including the header, as the text of a CSV file."""
    out = io.StringIO(newline="")
    write_rows(out, rows)
    return out.getvalue()


@overload
def frame_csv(frame: Any, *, index_label: str | None = None) -> str: ...
@overload
def frame_csv(frame: Any, path: PathLike, *, index_label: str | None = None) -> None: ...
def frame_csv(
    frame: Any, path: PathLike | None = None, *, index_label: str | None = None
) -> str | None:
    """A pandas data frame as CSV, to a file or as text; with its index if index_label is given."""
    safe = frame.copy(deep=False)
    for column, kind in enumerate(safe.dtypes):
        if kind.kind not in "biufcmM":  # neither numbers nor times
            safe.isetitem(column, safe.iloc[:, column].astype(object).map(safe_cell))
    safe.columns = [safe_cell(name) for name in safe.columns]
    if index_label is None:
        return safe.to_csv(path, index=False)
    safe.index = [safe_cell(name) for name in safe.index]
    return safe.to_csv(path, index_label=index_label)
