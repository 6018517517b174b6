"""Means with their intervals, and differences of runs that share a seed; tables in, tables out.

Every interval is Student's t at 95 % over seeds: with a handful of seeds it is wide, and honest
only if the values are near normal. Several side by side are not corrected for being several.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

LEVEL = 0.95
FINDING = ("n", "mean", "std", "low", "high")  # columns of every table of means


def interval(values: Sequence[float] | np.ndarray | pd.Series) -> dict[str, float]:
    """n, mean, std (of a sample) and the ends of the mean's 95 % interval.

    values: (n,) float, nan left out. With one value std and ends are nan, with none all but n.

    >>> {name: round(value, 3) for name, value in interval([1.0, 2.0, 3.0]).items()}
    {'n': 3, 'mean': 2.0, 'std': 1.0, 'low': -0.484, 'high': 4.484}
    """
    from scipy.stats import t  # late: it takes a second

    found = np.asarray(values, dtype=float)
    found = found[~np.isnan(found)]
    n = len(found)
    mean = float(found.mean()) if n else np.nan
    std = float(found.std(ddof=1)) if n > 1 else np.nan
    half = t.ppf((1 + LEVEL) / 2, n - 1) * std / np.sqrt(n) if n > 1 else np.nan
    return {"n": n, "mean": mean, "std": std, "low": mean - half, "high": mean + half}


def means(frame: pd.DataFrame, by: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """One row per group and metric: by..., metric, and FINDING over the group's rows (seeds)."""
    rows = []
    for key, group in frame.groupby(list(by), sort=True, dropna=False):
        named = dict(zip(by, key, strict=True))
        rows += [named | {"metric": metric} | interval(group[metric]) for metric in metrics]
    return pd.DataFrame(rows, columns=[*by, "metric", *FINDING])


def differences(
    frame: pd.DataFrame, other: pd.DataFrame, by: Sequence[str], metrics: Sequence[str]
) -> pd.DataFrame:
    """Paired: what `frame` has more than `other` in runs of the same group and the same seed.

    Both have the columns by, seed and metrics, one row per group and seed (`other` may lack columns
    of `by`: it then stands against all their values). Returns rows like `means`, with `clear`
    telling whether the interval excludes 0.
    """
    shared = [name for name in by if name in other.columns]
    both = frame.merge(other[[*shared, "seed", *metrics]], on=[*shared, "seed"], suffixes=("", "_"))
    for metric in metrics:
        both[metric] = both[metric] - both[f"{metric}_"]
    found = means(both, by, metrics)
    found["clear"] = (found["low"] > 0) | (found["high"] < 0)
    return found


def say(row, *, sign: bool = False, percent: bool = True) -> str:
    """ "97.7 % [97.0, 98.4], n = 5"; with sign, as for a difference, "+2.1 points [1.0, 3.2]"."""
    scale, unit = (100, " points" if sign else " %") if percent else (1, "")
    digits = 1 if percent else 3
    plus = "+" if sign else ""
    if np.isnan(row["mean"]):
        return "no value"
    text = f"{scale * row['mean']:{plus}.{digits}f}{unit}"
    if not np.isnan(row["low"]):
        text += f" [{scale * row['low']:{plus}.{digits}f}, {scale * row['high']:{plus}.{digits}f}]"
    return f"{text}, n = {row['n']:.0f}"


def verdict(row, *, more: str = "more", less: str = "less") -> str:
    """What a paired difference carries: more, less, or nothing that the interval tells apart."""
    if not row["clear"]:
        return "not told apart"
    return more if row["mean"] > 0 else less
