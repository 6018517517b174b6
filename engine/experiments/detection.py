"""Detection of wrong labels: MixNN, cleanlab's confident learning and ranking by the loss."""

import time

import numpy as np
import pandas as pd

from engine.analysis.statistics import differences, format_mean, means
from engine.config import RunConfig
from engine.data import load_data
from engine.experiments.base import RATES, Experiment, Findings, Plan, Results
from engine.hardware import choose_device, choose_threads
from engine.metrics import normalized_margin
from engine.runs.folder import RunFolder
from engine.training.cross_validation import cross_val_predict_proba

OURS = "MixNN, label quality"
FINDERS = (
    OURS,
    "MixNN, P(clean) before correction",
    "loss after warm-up",
    "loss of cross-entropy, last",
    "cleanlab, self-confidence",
    "cleanlab, confident learning",
)
MEASURES = ("average_precision", "precision_at_wrong", "auroc", "seconds")
RECALLS = np.linspace(0.02, 1, 50)
# cleanlab needs out-of-sample probabilities: five folds, as in its guides; ten epochs each, after
# which held-out accuracy on digits no longer rises
FOLDS, FOLD_EPOCHS = 5, 10


def configs(plan: Plan) -> list[RunConfig]:
    """Cross-entropy and MixNN at every rate."""
    return plan.grid(method=("ce", "mixnn"), rate=RATES)


def evaluate(results: Results) -> Findings:
    """Scores of every finder, with MixNN's label quality as the reference."""
    scores, curves = _scores(results)
    final = means(scores, ["rate", "finder"], MEASURES)
    ours = scores[scores["finder"] == OURS].drop(columns="finder")
    against = differences(scores[scores["finder"] != OURS], ours, ["rate", "finder"], MEASURES)
    answers = []
    for rate in sorted(scores["rate"].unique()):
        part = final[(final["rate"] == rate) & (final["metric"] == "average_precision")]
        part = part.sort_values("mean", ascending=False)
        ranking = [
            f"{row['finder']} {format_mean(row, percent=False)}" for _, row in part.iterrows()
        ]
        rows = against[(against["rate"] == rate) & (against["metric"] == "average_precision")]
        better = [r["finder"] for _, r in rows.iterrows() if r["clear"] and r["mean"] > 0]
        equal = [r["finder"] for _, r in rows.iterrows() if not r["clear"]]
        answers.append(
            f"At rate {rate:g}, average precision: {'; '.join(ranking)}. Better than "
            f"{OURS}: {', '.join(better) or 'none'}; not "
            f"significantly different: {', '.join(equal) or 'none'}."
        )
    tables = {
        "scores": final,
        "against_mixnn": against,
        "curves": means(curves, ["rate", "finder", "recall"], ["precision"]),
    }
    return Findings(tables, answers)


def _scores(results: Results) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores and precision-recall curves of every finder, for each rate and seed."""
    scores, curves = [], []
    pairs: dict[tuple[float, int], dict[str, RunFolder]] = {}
    for run in results.runs.values():
        pairs.setdefault((run.config.rate, run.config.seed), {})[run.config.method] = run
    for (rate, seed), pair in pairs.items():
        if len(pair) < 2:
            continue
        wrong = pair["mixnn"].labels["given"] != pair["mixnn"].labels["true"]
        for finder, (suspicion, seconds) in _suspicions(pair["mixnn"], pair["ce"]).items():
            at = {"rate": rate, "seed": seed, "finder": finder}
            scores.append(at | detection_scores(suspicion, wrong) | {"seconds": seconds})
            precisions = precision_at(suspicion, wrong, RECALLS)
            curves += [
                at | {"recall": r, "precision": p} for r, p in zip(RECALLS, precisions, strict=True)
            ]
    return pd.DataFrame(scores), pd.DataFrame(curves)


def detection_scores(suspicion: np.ndarray, wrong: np.ndarray) -> dict[str, float]:
    """How well a ranking finds wrong labels; all scores are in [0, 1], 1 = perfect.

    suspicion: (N,) float, higher = more suspicious; wrong: (N,) bool. average_precision: area under
    the precision-recall curve. precision_at_wrong: precision among the n most suspicious, n = the
    number of wrong labels (R-precision). auroc: area under the ROC curve.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    first = np.argsort(-suspicion, kind="stable")[: wrong.sum()]
    return {
        "average_precision": average_precision_score(wrong, suspicion),
        "precision_at_wrong": wrong[first].mean(),
        "auroc": roc_auc_score(wrong, suspicion),
    }


def precision_at(suspicion: np.ndarray, wrong: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    """The highest precision of a ranking at each recall or above: (R,) -> (R,) in [0, 1]."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(wrong, suspicion)
    return np.array([precision[recall >= r - 1e-12].max() for r in recalls])


def _suspicions(mixnn: RunFolder, ce: RunFolder) -> dict[str, tuple[np.ndarray, float]]:
    """Finder -> suspicion of each given label (N,), and its computing time in seconds."""
    given = mixnn.labels["given"]
    quality = normalized_margin(mixnn.array("soft")[-1], mixnn.array("clean")[-1], given)
    start = max(0, mixnn.config.correction_start - 1)
    warm = max(0, mixnn.config.warmup - 1)
    early = _seconds(mixnn, start + 1)
    self_confidence, confident, seconds = _cleanlab(mixnn.config, given)
    scores = (
        (1 - quality, _seconds(mixnn)),
        (1 - mixnn.array("clean")[start], early),
        (mixnn.array("loss")[warm], _seconds(mixnn, warm + 1)),
        (ce.array("loss")[-1], _seconds(ce)),
        (1 - self_confidence, seconds),
        (confident, seconds),
    )
    return dict(zip(FINDERS, ((np.array(s), t) for s, t in scores), strict=True))


def _cleanlab(config: RunConfig, given: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Self-confidence (N,), confident learning's suspicion (N,), and the seconds of both.

    Confident learning returns a set of issues; they rank first, ordered by self-confidence.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    start = time.perf_counter()
    threads = choose_threads(config.threads, config.network)
    probabilities = cross_val_predict_proba(
        load_data(config),
        given,
        n_folds=FOLDS,
        epochs=FOLD_EPOCHS,
        seed=config.seed,
        network=config.network,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        augmentation=config.augment,
        threads=threads,
        on=choose_device(config.device),
    )
    confidence = get_label_quality_scores(given, probabilities, method="self_confidence")
    issues = find_label_issues(given, probabilities, n_jobs=1)
    return confidence, issues + (1 - confidence), time.perf_counter() - start


def _seconds(run: RunFolder, n_epochs: int | None = None) -> float:
    return sum(sum(record["seconds"].values()) for record in run.epochs[:n_epochs])


EXPERIMENTS = {"detection": Experiment(configs, evaluate)}
