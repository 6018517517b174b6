"""A transition matrix of the visitor's own: checked, mended, read from CSV, written to it."""

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd

from engine.errors import NoiseError
from engine.tables import frame_csv

TOLERANCE = 1e-3  # a row of three times 0.3333 is meant to sum to 1
DECIMALS = 5  # of a kept matrix: it stands in the URL
MOST_BYTES = 1_000_000


def frame(matrix: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """A matrix (C, C) as a table with the true classes as rows; equal names get their number."""
    names = [str(name) for name in names]
    if len(set(names)) < len(names):
        names = [f"{name} ({number})" for number, name in enumerate(names)]
    return pd.DataFrame(np.asarray(matrix, dtype=float), index=names, columns=names)


def problems(table: pd.DataFrame) -> list[str]:
    """What keeps a table from being a transition matrix, a sentence for each row."""
    found = []
    for name, row in zip(table.index, table.to_numpy(dtype=float), strict=True):
        if np.isnan(row).any():
            found.append(f"Row {name} has an empty cell: every cell needs a number.")
        elif not np.isfinite(row).all() or (row < 0).any() or (row > 1).any():
            found.append(f"Row {name} has a number outside 0 to 1.")
        elif abs(row.sum() - 1) > TOLERANCE:
            found.append(f"Row {name} adds up to {row.sum():.4g}: it must be 1.")
    return found


def normalized(table: pd.DataFrame) -> pd.DataFrame:
    """Every row divided by its sum; empty and negative cells count as 0, an empty row as right."""
    values = np.nan_to_num(table.to_numpy(dtype=float), nan=0, posinf=0, neginf=0).clip(0)
    empty = values.sum(1) == 0
    values[empty] = np.eye(len(values))[empty]
    return pd.DataFrame(tidy(values), index=table.index, columns=table.columns)


def tidy(matrix: np.ndarray) -> np.ndarray:
    """Short numbers whose rows sum to 1: rounded, what is left goes to the largest cell."""
    scaled = matrix / matrix.sum(1, keepdims=True)
    short = np.round(scaled, DECIMALS)
    rows = np.arange(len(short))
    largest = short.argmax(1)
    short[rows, largest] = np.round(short[rows, largest] + 1 - short.sum(1), DECIMALS)
    return short


def to_csv(table: pd.DataFrame) -> str:
    """With class names in the first row and column; rows are true classes."""
    return frame_csv(table, index_label="true \\ given")


def from_csv(content: bytes, names: Sequence[str]) -> pd.DataFrame:
    """A table of C x C numbers, with or without names in the first row and column.

    Raises NoiseError naming what is wrong; whether rows sum to 1 is not asked.
    """
    c = len(names)
    if len(content) > MOST_BYTES:
        raise NoiseError(f"The file has {len(content):,} bytes: allowed are {MOST_BYTES:,}.")
    try:
        cells = pd.read_csv(io.BytesIO(content), header=None, dtype=str, skip_blank_lines=True)
    except (ValueError, UnicodeDecodeError) as error:  # pandas' own errors are ValueErrors
        raise NoiseError(f"This is no CSV table: {error}") from None
    cells = cells.iloc[len(cells) - c :] if len(cells) == c + 1 else cells
    cells = cells.iloc[:, 1:] if cells.shape[1] == c + 1 else cells
    if cells.shape != (c, c):
        raise NoiseError(
            f"The table has {cells.shape[0]} rows and {cells.shape[1]} columns of numbers: "
            f"allowed are {c} of each, one for each class."
        )
    values = cells.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise NoiseError(
            f"{cells.iloc[row, column]!r} in row {names[row]}, column {names[column]} is no number."
        )
    return frame(values, names)
