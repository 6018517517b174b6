"""Means over seeds with confidence intervals, and tests of differences; tables in, tables out.

Intervals are Student's t at 95 %, each for its mean alone. Tests are corrected for multiple
comparisons: the family-wise error rate is 5 %.

Runs that share a seed share the noise and the initial weights, so seeds are blocks: differences
within seeds are tested, each by a paired t-test with its own variance. Several settings against one
reference are corrected by Holm's steps with Sidak's bound, the best against all others by Sidak's
bound over all pairs. Differences are assumed to be near normal, which a handful of seeds cannot
show. Dunnett's test (scipy.stats.dunnett) is not used: it assumes equal variances, and here the
standard deviation of accuracy is up to 23 times as large in one setting as in another; with such
values and five seeds, Dunnett's test on blocks has a family-wise error rate of 9 to 14 %. For the
same reason all pairs of several settings are compared by the form of Tukey's test for unequal
variances (Games and Howell 1976), which needs no common seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = 0.95
INTERVAL_COLUMNS = ("n", "mean", "std", "low", "high")  # columns of every table of means


def interval(values: Sequence[float | None] | np.ndarray | pd.Series) -> dict[str, float]:
    """n, mean, std (sample standard deviation) and the ends of the mean's 95 % interval.

    values: (n,) float; None and nan are left out. With one value std and ends are nan, without a
    value all but n.

    >>> {name: round(value, 3) for name, value in interval([1.0, 2.0, 3.0]).items()}
    {'n': 3, 'mean': 2.0, 'std': 1.0, 'low': -0.484, 'high': 4.484}
    """
    from scipy.special import stdtrit  # late: importing SciPy takes a while

    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    n = len(known)
    mean = float(known.mean()) if n else np.nan
    std = float(known.std(ddof=1)) if n > 1 else np.nan
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * std / np.sqrt(n) if n > 1 else np.nan
    return {"n": n, "mean": mean, "std": std, "low": mean - half, "high": mean + half}


def json_ready(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """Numbers of `interval` for JSON: None instead of nan."""
    return {name: None if np.isnan(value) else value for name, value in numbers.items()}


def means(frame: pd.DataFrame, by: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """One row per group and metric: by..., metric, INTERVAL_COLUMNS over the group's rows."""
    import pandas as pd

    rows: list[dict] = []
    for key, group in frame.groupby(list(by), sort=True, dropna=False):
        named = dict(zip(by, key, strict=True))
        rows += [named | {"metric": metric} | interval(group[metric]) for metric in metrics]
    return pd.DataFrame(rows, columns=[*by, "metric", *INTERVAL_COLUMNS])


def differences(
    frame: pd.DataFrame, other: pd.DataFrame, by: Sequence[str], metrics: Sequence[str]
) -> pd.DataFrame:
    """Paired differences, `frame` minus `other`, in runs of the same group and the same seed.

    Both have the columns by, seed and metrics, one row per group and seed. `other` may lack columns
    of `by`: it is then the reference of all their values, which are tested together. Returns rows
    like `means`, with p, corrected over the values that share a reference (nan where there is
    nothing to test: fewer than two seeds, or no difference in any), and clear: p < 0.05.
    """
    shared = [name for name in by if name in other.columns]
    both = frame.merge(other[[*shared, "seed", *metrics]], on=[*shared, "seed"], suffixes=("", "_"))
    for metric in metrics:
        both[metric] = both[metric] - both[f"{metric}_"]
    table = means(both, by, metrics)
    table["p"] = _paired_p(table)
    table["p"] = table.groupby([*shared, "metric"], dropna=False)["p"].transform(holm_sidak)
    table["clear"] = table["p"] < 1 - CONFIDENCE
    return table


def against_best(frame: pd.DataFrame, axis: str, metric: str) -> pd.DataFrame:
    """Every other value of a column against the one with the highest mean, paired by seed.

    frame: columns axis, seed and metric, a row per value and seed. Returns rows like `differences`;
    p is corrected for all pairs of values, since the best one is chosen by the same numbers.
    """
    k = frame[axis].nunique()
    best = frame.groupby(axis)[metric].mean().idxmax()
    rest, top = frame[frame[axis] != best], frame[frame[axis] == best][["seed", metric]]
    table = differences(rest, top, [axis], [metric])
    table["p"] = 1 - (1 - _paired_p(table)) ** (k * (k - 1) / 2)
    table["clear"] = table["p"] < 1 - CONFIDENCE
    return table


def all_pairs(frame: pd.DataFrame, axis: str, metric: str) -> pd.DataFrame:
    """All pairs of values of a column, by Tukey's test for unequal variances (Games and Howell).

    frame: columns axis and metric, a row per value and seed; a value needs two seeds. Returns a row
    per pair: first, second, mean (second minus first), low and high (ends of the 95 % interval,
    simultaneous over all pairs), p (corrected for all pairs), clear: p < 0.05.
    """
    import pandas as pd
    from scipy.stats import tukey_hsd  # late: importing SciPy takes a while

    groups = {
        key: values.to_numpy(float)
        for key, values in frame.dropna(subset=[metric]).groupby(axis, sort=False)[metric]
        if len(values) > 1
    }
    columns = ["first", "second", "mean", "low", "high", "p", "clear"]
    if len(groups) < 2:
        return pd.DataFrame(columns=columns)
    with np.errstate(divide="ignore", invalid="ignore"):  # groups without any spread
        test = tukey_hsd(*groups.values(), equal_var=False)
        ends = test.confidence_interval(CONFIDENCE)
    keys, rows = list(groups), []
    for j in range(len(keys)):
        for i in range(j):
            p = float(test.pvalue[j, i])
            numbers = [float(x[j, i]) for x in (test.statistic, ends.low, ends.high)]
            rows.append([keys[i], keys[j], *numbers, p, p < 1 - CONFIDENCE])
    return pd.DataFrame(rows, columns=columns)


def _paired_p(table: pd.DataFrame) -> pd.Series:
    """Two-sided p-values of the t-tests that the means of differences are 0, uncorrected."""
    from scipy.special import stdtr  # late: importing SciPy takes a while

    with np.errstate(divide="ignore", invalid="ignore"):
        t = table["mean"] / (table["std"] / np.sqrt(table["n"]))
    return 2 * stdtr((table["n"] - 1).where(table["n"] > 1), -t.abs())


def holm_sidak(p: pd.Series) -> pd.Series:
    """p-values of one family, corrected by Holm's steps with Sidak's bound; nan are not tests."""
    tested = p.dropna().sort_values()
    n_left = np.arange(len(tested), 0, -1)  # hypotheses that are not yet rejected
    return (1 - (1 - tested) ** n_left).cummax().reindex(p.index)


def format_mean(row, *, sign: bool = False, percent: bool = True) -> str:
    """A row of `means` as text: "97.7 % [97.0, 98.4], n = 5".

    sign: as a difference, "+2.1 points [1.0, 3.2], n = 5". percent: shares as percentages.
    """
    scale, unit = (100, " points" if sign else " %") if percent else (1, "")
    digits = 1 if percent else 3
    plus = "+" if sign else ""
    if np.isnan(row["mean"]):
        return "no value"
    text = f"{scale * row['mean']:{plus}.{digits}f}{unit}"
    if not np.isnan(row["low"]):
        text += f" [{scale * row['low']:{plus}.{digits}f}, {scale * row['high']:{plus}.{digits}f}]"
    return f"{text}, n = {row['n']:.0f}"


def describe_difference(row, *, more: str = "more", less: str = "less") -> str:
    """The result of the test in a row of `differences`: more, less, or not significant."""
    if not row["clear"]:
        return "not significantly different"
    return more if row["mean"] > 0 else less
