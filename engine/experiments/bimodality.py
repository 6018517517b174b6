"""Are the losses bimodal, as the mixture assumes, and what if they are not?"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from engine.analysis.statistics import format_mean, means
from engine.config import RunConfig
from engine.experiments.base import RATES, Experiment, Findings, Plan, Results, last_epochs, pick
from engine.runs.folder import RunFolder

METHODS = ("ce", "mixnn")
MEASURES = ("dip_p", "bimodal", "bic_gain", "ashman_d", "clean_auroc")
SIGNIFICANT = 0.05  # p-value of the dip test below which unimodality is rejected
MOST_TESTED = 20_000  # losses; with more, any unevenness is significant


def configs(plan: Plan) -> list[RunConfig]:
    """Cross-entropy and MixNN at every rate."""
    return plan.grid(method=METHODS, rate=[0.0, *RATES])


def evaluate(results: Results) -> Findings:
    """How often the losses are bimodal, how well P(clean) ranks labels, and MixNN's gain."""
    frame = pd.DataFrame([row for run in results.runs.values() for row in _epochs_of(run)])
    last = last_epochs(frame)
    runs = _share_and_gain(frame, last)
    share = means(runs, ["method", "rate"], ["bimodal_share", "gain"])
    early = means(_last_warmup(frame), ["method", "rate"], MEASURES)
    final = means(last, ["method", "rate"], MEASURES)
    answers = []
    for rate in sorted(frame.loc[frame["method"] == "mixnn", "rate"].unique()):
        at = dict(method="mixnn", rate=rate)
        text = (
            f"At rate {rate:g} the dip test rejects unimodality in "
            f"{format_mean(pick(share, metric='bimodal_share', **at))} of MixNN's epochs after "
            "warm-up"
        )
        if rate > 0:
            text += (
                "; the AUROC of P(clean) is "
                f"{format_mean(pick(early, metric='clean_auroc', **at), percent=False)} at the end "
                "of warm-up and "
                f"{format_mean(pick(final, metric='clean_auroc', **at), percent=False)} at the "
                "last epoch (of the corrected labels)"
            )
        gain = format_mean(pick(share, metric="gain", **at), sign=True)
        answers.append(f"{text}; MixNN against cross-entropy: {gain}.")
    answers += _correlation(runs[runs["method"] == "mixnn"])
    curves = means(frame, ["method", "rate", "epoch"], MEASURES)
    tables = {"curves": curves, "runs": runs, "share": share, "warmup_end": early}
    return Findings(tables, answers)


def _share_and_gain(frame: pd.DataFrame, last: pd.DataFrame) -> pd.DataFrame:
    """A row per run: its share of bimodal epochs after warm-up, and its gain over cross-entropy."""
    trained = frame[frame["phase"] != "warmup"]
    runs = trained.groupby(["run", "method", "rate", "seed"])["bimodal"].mean().reset_index()
    runs = runs.rename(columns={"bimodal": "bimodal_share"})
    runs = runs.merge(last[["run", "test_accuracy"]], on="run")
    ce = runs[runs["method"] == "ce"].set_index(["rate", "seed"])["test_accuracy"]
    keys = list(zip(runs["rate"], runs["seed"], strict=True))
    return runs.assign(gain=runs["test_accuracy"] - ce.reindex(keys).to_numpy())


def _correlation(runs: pd.DataFrame) -> list[str]:
    """A sentence on the correlation of bimodality and gain; none where it is undefined."""
    if runs["bimodal_share"].nunique() < 2:
        return []
    r = runs.groupby("rate")[["bimodal_share", "gain"]].corr().iloc[0::2, 1].mean()
    if np.isnan(r):
        return []
    return [
        "Among runs of the same rate, the share of bimodal epochs and MixNN's gain have an average "
        f"correlation of {r:+.2f}."
    ]


def measure(losses: np.ndarray) -> dict[str, float]:
    """Whether losses (N,) in [0, 1] are bimodal.

    dip_p: p-value of Hartigan's dip test (1985), small = not unimodal. bimodal: 1 where it is below
    0.05. bic_gain: by how much, per sample, the Bayesian information criterion is lower with two
    Gaussian components than with one; above 0 = two fit better, also for a skewed unimodal shape.
    """
    import diptest
    from sklearn.mixture import GaussianMixture  # late: it takes a second

    values = losses[np.isfinite(losses)].astype(float)
    if len(values) > MOST_TESTED:
        values = np.random.default_rng(0).choice(values, MOST_TESTED, replace=False)
    if len(values) < 4 or values.min() == values.max():
        return {"dip_p": 1.0, "bimodal": 0.0, "bic_gain": 0.0}
    _, p = diptest.diptest(values)
    column = values[:, None]
    one, two = (GaussianMixture(n, random_state=0).fit(column).bic(column) for n in (1, 2))
    return {"dip_p": p, "bimodal": float(p < SIGNIFICANT), "bic_gain": (one - two) / len(values)}


def _epochs_of(run: RunFolder) -> Iterator[dict[str, Any]]:
    """A row per epoch of a run."""
    records = run.epochs
    losses = run.array("scaled_loss", len(records))
    for record, row in zip(records, losses, strict=True):
        low, high = record["mixture"]["means"]
        spread = np.sqrt(np.mean(np.square(record["mixture"]["stds"])))
        yield {
            "run": run.folder.name,
            "method": run.config.method,
            "rate": run.config.rate,
            "seed": run.config.seed,
            "epoch": record["epoch"],
            "phase": record["phase"],
            "ashman_d": (high - low) / spread if spread > 0 else 0.0,
            "clean_auroc": record["metrics"]["clean_auroc"],
            "test_accuracy": record["metrics"]["test_accuracy"],
        } | measure(np.array(row))


def _last_warmup(frame: pd.DataFrame) -> pd.DataFrame:
    """The last warm-up epoch of each run; the first epoch where there is none."""
    early = frame[(frame["phase"] == "warmup") | (frame["epoch"] == frame["epoch"].min())]
    return last_epochs(early)


EXPERIMENTS = {"mixture": Experiment(configs, evaluate)}
