"""Do the losses show two humps, as the mixture supposes, and what if they do not?"""

import numpy as np
import pandas as pd

from engine.analysis.statistics import format_mean, means
from engine.config import RunConfig
from engine.experiments.base import RATES, Experiment, Findings, Material, Plan, lasting, pick

METHODS = ("ce", "mixnn")
MEASURES = ("dip_p", "bimodal", "bic_gain", "ashman_d", "clean_auroc")
SIGNIFICANT = 0.05  # of the dip test: below, one hump is rejected
SHOWN = 20_000  # losses that are tested at most; with more, any unevenness is significant


def runs(plan: Plan) -> list[RunConfig]:
    return plan.grid(method=METHODS, rate=[0.0, *RATES])


def read(material: Material) -> Findings:
    frame = pd.DataFrame([row for run in material.runs.values() for row in _measured(run)])
    curves = means(frame, ["method", "rate", "epoch"], MEASURES)
    last = lasting(frame)
    trained = frame[frame["phase"] != "warmup"]
    bimodality = trained.groupby(["run", "method", "rate", "seed"])["bimodal"].mean().reset_index()
    bimodality = bimodality.rename(columns={"bimodal": "bimodal_share"}).merge(
        last[["run", "test_accuracy"]], on="run"
    )
    ce = bimodality[bimodality["method"] == "ce"].set_index(["rate", "seed"])["test_accuracy"]
    keys = list(zip(bimodality["rate"], bimodality["seed"], strict=True))
    bimodality["gain"] = bimodality["test_accuracy"] - ce.reindex(keys).to_numpy()
    share = means(bimodality, ["method", "rate"], ["bimodal_share", "gain"])
    switch = _last_warmup(frame)
    early = means(switch, ["method", "rate"], MEASURES)
    final = means(last, ["method", "rate"], MEASURES)
    answers = []
    for rate in sorted(frame.loc[frame["method"] == "mixnn", "rate"].unique()):
        at = dict(method="mixnn", rate=rate)
        text = (
            f"At rate {rate:g} the dip test finds more than one hump in "
            f"{format_mean(pick(share, metric='bimodal_share', **at))} of MixNN's epochs after "
            "warm-up"
        )
        if rate > 0:
            text += (
                "; P(clean) tells right from wrong labels with AUROC "
                f"{format_mean(pick(early, metric='clean_auroc', **at), percent=False)} at the end "
                "of warm-up and "
                f"{format_mean(pick(final, metric='clean_auroc', **at), percent=False)} at the "
                "last epoch (there of the corrected labels)"
            )
        gain = format_mean(pick(share, metric="gain", **at), sign=True)
        answers.append(f"{text}; MixNN against cross-entropy: {gain}.")
    ours = bimodality[bimodality["method"] == "mixnn"]
    if ours["bimodal_share"].nunique() > 1:
        r = ours.groupby("rate")[["bimodal_share", "gain"]].corr().iloc[0::2, 1].mean()
        if not np.isnan(r):
            answers.append(
                "Among runs of the same rate, the share of epochs with two humps and MixNN's gain "
                f"correlate with {r:+.2f} on average."
            )
    return Findings(
        {"curves": curves, "runs": bimodality, "share": share, "warmup_end": early}, answers
    )


def measure(losses: np.ndarray) -> dict[str, float]:
    """How many humps losses (N,) in [0, 1] show.

    dip_p: p-value of Hartigan's dip test (1985), small = more than one hump. bimodal: 1 where it is
    below 0.05. bic_gain: how much lower, per sample, the Bayesian information criterion is with two
    normal components than with one; above 0 = two fit better, which a skewed single hump does too.
    """
    import diptest
    from sklearn.mixture import GaussianMixture  # late: it takes a second

    values = losses[np.isfinite(losses)].astype(float)
    if len(values) > SHOWN:
        values = np.random.default_rng(0).choice(values, SHOWN, replace=False)
    if len(values) < 4 or values.min() == values.max():
        return {"dip_p": 1.0, "bimodal": 0.0, "bic_gain": 0.0}
    _, p = diptest.diptest(values)
    column = values[:, None]
    one, two = (GaussianMixture(n, random_state=0).fit(column).bic(column) for n in (1, 2))
    return {"dip_p": p, "bimodal": float(p < SIGNIFICANT), "bic_gain": (one - two) / len(values)}


def _measured(run):
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
    return lasting(early)


EXPERIMENTS = {
    "mixture": Experiment(
        "Do the losses show two humps, as the mixture supposes, and what if they do not?",
        runs,
        read,
        needs="diptest",
    )
}
