"""Means over seeds with their intervals, and tests of differences; tables in, tables out.

Intervals are Student's t at 95 %, each for its mean alone. Tests are corrected for how many values
are compared at once: Dunnett's test for several against one reference, Tukey's honestly significant
difference for several against the best of them.

Runs that share a seed share the noise and the initial weights, so seeds are blocks: with n seeds
and k values the error variance is the mean square of what remains of the table (n, k) once its row
and column means are taken out, with (n - 1)(k - 1) degrees of freedom (Hsu 1996, chapter 7; Dunnett
1964). With two values both tests are the paired t-test. scipy.stats.dunnett and tukey_hsd have the
same distributions for independent groups, with k (n - 1) degrees of freedom. Assumed are normal
errors of equal spread in all values compared; with a handful of seeds neither can be checked.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

LEVEL = 0.95
FINDING = ("n", "mean", "std", "low", "high")  # columns of every table of means
NODES = 64  # of the quadrature, in each direction: p-values are right to four digits


def interval(values: Sequence[float | None] | np.ndarray | pd.Series) -> dict[str, float]:
    """n, mean, std (of a sample) and the ends of the mean's 95 % interval.

    values: (n,) float, None and nan left out. With one value std and ends are nan, with none all
    but n.

    >>> {name: round(value, 3) for name, value in interval([1.0, 2.0, 3.0]).items()}
    {'n': 3, 'mean': 2.0, 'std': 1.0, 'low': -0.484, 'high': 4.484}
    """
    from scipy.special import stdtrit  # late: importing SciPy takes a while

    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    n = len(known)
    mean = float(known.mean()) if n else np.nan
    std = float(known.std(ddof=1)) if n > 1 else np.nan
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * std / np.sqrt(n) if n > 1 else np.nan
    return {"n": n, "mean": mean, "std": std, "low": mean - half, "high": mean + half}


def json_ready(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """Numbers of `interval` for JSON, which has no nan: None instead."""
    return {name: None if np.isnan(value) else value for name, value in numbers.items()}


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

    Both have the columns by, seed and metrics, one row per group and seed. `other` may lack columns
    of `by`: it is then the reference of all their values, which are tested together. Returns rows
    like `means`, with p, the p-value of Dunnett's test over the values that share a reference (nan
    with fewer than two seeds that all of them have), and clear, whether it is below 0.05.
    """
    shared = [name for name in by if name in other.columns]
    both = frame.merge(other[[*shared, "seed", *metrics]], on=[*shared, "seed"], suffixes=("", "_"))
    for metric in metrics:
        both[metric] = both[metric] - both[f"{metric}_"]
    values = [name for name in by if name not in shared]
    families = both.groupby(shared, dropna=False) if shared else [((), both)]
    tests = [
        dict(zip(shared, key, strict=True)) | test
        for key, family in families for metric in metrics
        for test in _dunnett(family, values, metric)
    ]  # fmt: skip
    found = means(both, by, metrics)
    found = found.merge(pd.DataFrame(tests, columns=[*by, "metric", "p"]), on=[*by, "metric"])
    found["clear"] = found["p"] < 1 - LEVEL
    return found


def against_best(frame: pd.DataFrame, axis: str, metric: str) -> pd.DataFrame:
    """Every value of a column against the one with the highest mean, by Tukey's test.

    frame: columns axis, seed and metric, a row per value and seed; seeds that not all values have
    are left out. Returns axis, mean and p (1 for the best; nan with fewer than two seeds or
    values), the best first.
    """
    from scipy.stats import studentized_range  # late: it takes a second

    table = frame.pivot(index="seed", columns=axis, values=metric).dropna()
    n, k = table.shape
    mean = table.mean().sort_values(ascending=False, kind="stable")
    gap = (mean.iloc[0] - mean).to_numpy()
    p = np.full(k, np.nan)
    if n > 1 and k > 1:
        error, df = _block_error(table.to_numpy())
        with np.errstate(divide="ignore", invalid="ignore"):
            q = np.nan_to_num(gap / np.sqrt(error / n))
        p = studentized_range.sf(q, k, df)
        p[0] = 1.0
    return pd.DataFrame({axis: mean.index, "mean": mean.to_numpy(), "p": p})


def _dunnett(family: pd.DataFrame, values: list[str], metric: str) -> list[dict[str, Any]]:
    """Each value of a family with the p-value of its differences to the reference, by seed.

    A value that equals the reference in every seed, such as the reference itself, has p = 1 and is
    not counted as a comparison.
    """
    if values:
        table = family.pivot(index="seed", columns=values, values=metric).dropna()
        keys = table.columns.to_frame(index=False).to_dict("records")
    else:
        table, keys = family[[metric]].dropna(), [{}]
    gaps = table.to_numpy()
    differ = (gaps != 0).any(0)
    p = np.ones(len(keys)) if len(gaps) > 1 else np.full(len(keys), np.nan)
    if len(gaps) > 1 and differ.any():
        gaps = gaps[:, differ]
        error, df = _block_error(np.column_stack([np.zeros(len(gaps)), gaps]))
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.nan_to_num(gaps.mean(0) / np.sqrt(2 * error / len(gaps)))
        p[differ] = dunnett_p(t, len(t), df)
    return [key | {"metric": metric, "p": value} for key, value in zip(keys, p, strict=True)]


def _block_error(table: np.ndarray) -> tuple[float, int]:
    """Error mean square of a table (n seeds, k values), n, k > 1, and its degrees of freedom."""
    n, k = table.shape
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    df = (n - 1) * (k - 1)
    return float((rest**2).sum() / df), df


def dunnett_p(t: np.ndarray, m: int, df: int) -> np.ndarray:
    """Two-sided p-values (m,) of Dunnett's test for t statistics of m comparisons with a reference.

    P(max |T| > |t|) for T multivariate t, df degrees of freedom, correlations 1/2: by quadrature
    over the error of the reference (normal) and the estimated spread (chi).
    """
    from scipy.special import chdtri, ndtr  # late: importing SciPy takes a while

    z, of_z = np.polynomial.hermite_e.hermegauss(NODES)
    u, of_u = np.polynomial.legendre.leggauss(NODES)
    spread = np.sqrt(chdtri(df, (1 - u) / 2) / df)  # quantiles of the estimate, true spread 1
    reach = np.sqrt(2) * np.abs(t)[:, None, None] * spread[:, None]
    inside = (ndtr(z + reach) - ndtr(z - reach)) ** m
    return np.clip(1 - inside @ (of_z / np.sqrt(2 * np.pi)) @ (of_u / 2), 0, 1)


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


def conclusion(row, *, more: str = "more", less: str = "less") -> str:
    """What the test of a row of `differences` says: more, less, or not significantly different."""
    if not row["clear"]:
        return "not significantly different"
    return more if row["mean"] > 0 else less
