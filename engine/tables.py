"""CSV that a spreadsheet opens without running anything; the only writer of CSV in the project.

Class and file names are texts of strangers, and a spreadsheet takes a cell that begins with "=",
"+", "-" or "@" for a formula. Such a text gets a leading apostrophe (OWASP, CSV Injection), so an
image called "-1.png" stands in a table as "'-1.png"; numbers stay numbers. `raw_cell` takes the
apostrophe away again. Parquet needs none of it: its texts are texts.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any, TextIO

# tab, carriage return and line feed are cut off by some spreadsheets, full-width signs made narrow
_RUN = re.compile(r"'*(\s*[=+\-@＝＋－＠]|\s*[\t\r\n])")  # noqa: RUF001


def safe_cell(value: Any) -> Any:
    """A text that no spreadsheet runs; anything but a text as it is.

    >>> safe_cell("=1+1"), safe_cell("'=1"), safe_cell("a=1"), safe_cell(-1)
    ("'=1+1", "''=1", 'a=1', -1)
    """
    return f"'{value}" if isinstance(value, str) and _RUN.match(value) else value


def raw_cell(value: Any) -> Any:
    """The text behind a text of `safe_cell`.

    >>> raw_cell("'=1+1"), raw_cell("''=1"), raw_cell("'quoted'")
    ('=1+1', "'=1", "'quoted'")
    """
    begun = isinstance(value, str) and value.startswith("'") and _RUN.match(value)
    return value[1:] if begun else value


def write_rows(file: TextIO, rows: Iterable[Sequence[Any]]) -> None:
    """Rows, the head among them, into a file opened with newline=""."""
    csv.writer(file).writerows([safe_cell(cell) for cell in row] for row in rows)


def rows_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows, the head among them, as the text of a CSV file."""
    out = io.StringIO(newline="")
    write_rows(out, rows)
    return out.getvalue()


def frame_csv(frame, path: PathLike | None = None, *, index_label: str | None = None) -> str | None:
    """A pandas data frame as CSV, into a file or as text; its index only if that has a label."""
    safe = frame.copy(deep=False)
    for place, kind in enumerate(safe.dtypes):
        if kind.kind not in "biufcmM":  # neither numbers nor times
            safe.isetitem(place, safe.iloc[:, place].astype(object).map(safe_cell))
    safe.columns = [safe_cell(name) for name in safe.columns]
    if index_label is None:
        return safe.to_csv(path, index=False)
    safe.index = [safe_cell(name) for name in safe.index]
    return safe.to_csv(path, index_label=index_label)
