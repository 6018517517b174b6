"""CSV that is safe to open in a spreadsheet; the only writer of CSV in the project.

Class and file names are untrusted texts, and a spreadsheet executes a cell that begins with "=",
"+", "-" or "@" as a formula. Such a text gets a leading apostrophe (OWASP, CSV Injection), so an
image named "-1.png" becomes "'-1.png"; numbers stay numbers. `raw_cell` removes the apostrophe.
Parquet does not need this: its texts are never executed.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any, TextIO, overload

# some spreadsheets strip tabs, carriage returns and line feeds, and narrow full-width signs
_FORMULA = re.compile(r"'*(\s*[=+\-@＝＋－＠]|\s*[\t\r\n])")  # noqa: RUF001


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


def write_rows(file: TextIO, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows, including the header, into a file opened with newline=""."""
    csv.writer(file).writerows([safe_cell(cell) for cell in row] for row in rows)


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
