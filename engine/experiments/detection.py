"""Finding wrong labels: MixNN against cleanlab's confident learning and plain loss ranking."""

import time

import numpy as np
import pandas as pd

from engine.analysis.statistics import differences, format_mean, means
from engine.config import RunConfig
from engine.experiments.base import RATES, Experiment, Findings, Material, Plan
from engine.hardware import choose_device, choose_threads
from engine.metrics import normalized_margin
from engine.runs.folder import Run
from engine.training.cross_validation import cross_val_predict_proba
from engine.training.state import load_data

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
# cleanlab takes probabilities of images that the network has not seen: as its guides do, by five
# folds; ten epochs each, after which held-out accuracy on digits no longer rises
FOLDS, FOLD_EPOCHS = 5, 10


def runs(plan: Plan) -> list[RunConfig]:
    return plan.grid(method=("ce", "mixnn"), rate=RATES)


def read(material: Material) -> Findings:
    scores, curves = [], []
    by_problem: dict[tuple[float, int], dict[str, Run]] = {}
    for run in material.runs.values():
        key = (run.config.rate, run.config.seed)
        by_problem.setdefault(key, {})[run.config.method] = run
    for (rate, seed), pair in by_problem.items():
        if len(pair) < 2:
            continue
        wrong = pair["mixnn"].labels["given"] != pair["mixnn"].labels["true"]
        for finder, (suspicion, seconds) in _suspicions(pair["mixnn"], pair["ce"]).items():
            at = {"rate": rate, "seed": seed, "finder": finder}
            scores.append(at | detection_scores(suspicion, wrong) | {"seconds": seconds})
            curve = precision_at(suspicion, wrong, RECALLS)
            curves += [
                at | {"recall": r, "precision": p} for r, p in zip(RECALLS, curve, strict=True)
            ]
    frame = pd.DataFrame(scores)
    found = means(frame, ["rate", "finder"], MEASURES)
    ours = frame[frame["finder"] == OURS].drop(columns="finder")
    against = differences(frame[frame["finder"] != OURS], ours, ["rate", "finder"], MEASURES)
    answers = []
    for rate in sorted(frame["rate"].unique()):
        part = found[(found["rate"] == rate) & (found["metric"] == "average_precision")]
        part = part.sort_values("mean", ascending=False)
        told = [f"{row['finder']} {format_mean(row, percent=False)}" for _, row in part.iterrows()]
        rows = against[(against["rate"] == rate) & (against["metric"] == "average_precision")]
        better = [r["finder"] for _, r in rows.iterrows() if r["clear"] and r["mean"] > 0]
        equal = [r["finder"] for _, r in rows.iterrows() if not r["clear"]]
        answers.append(
            f"At rate {rate:g}, average precision: {'; '.join(told)}. Better than "
            f"{OURS}: {', '.join(better) or 'none'}; not "
            f"significantly different: {', '.join(equal) or 'none'}."
        )
    tables = {
        "scores": found,
        "against_mixnn": against,
        "curves": means(pd.DataFrame(curves), ["rate", "finder", "recall"], ["precision"]),
    }
    return Findings(tables, answers)


def detection_scores(suspicion: np.ndarray, wrong: np.ndarray) -> dict[str, float]:
    """How well a ranking finds wrong labels.

    suspicion: (N,) float, the most suspicious have most; wrong: (N,) bool. average_precision: area
    under the precision-recall curve. precision_at_wrong: share of wrong ones among as many of the
    most suspicious as there are wrong ones. auroc: as usual. All in [0, 1], 1 = all found first.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    first = np.argsort(-suspicion, kind="stable")[: wrong.sum()]
    return {
        "average_precision": average_precision_score(wrong, suspicion),
        "precision_at_wrong": wrong[first].mean(),
        "auroc": roc_auc_score(wrong, suspicion),
    }


def precision_at(suspicion: np.ndarray, wrong: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    """The best precision that a ranking reaches with at least these recalls (R,)."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(wrong, suspicion)
    return np.array([precision[recall >= r - 1e-12].max() for r in recalls])


def _suspicions(mixnn: Run, ce: Run) -> dict[str, tuple[np.ndarray, float]]:
    """Finder -> suspicion of each given label (N,), and the seconds that it takes."""
    given = mixnn.labels["given"]
    quality = normalized_margin(mixnn.array("soft")[-1], mixnn.array("clean")[-1], given)
    start = max(0, mixnn.config.correction_start - 1)
    warm = max(0, mixnn.config.warmup - 1)
    early = _seconds(mixnn, start + 1)
    self_confidence, confident, seconds = _cleanlab(mixnn.config, given)
    found = (
        (1 - quality, _seconds(mixnn)),
        (1 - mixnn.array("clean")[start], early),
        (mixnn.array("loss")[warm], _seconds(mixnn, warm + 1)),
        (ce.array("loss")[-1], _seconds(ce)),
        (1 - self_confidence, seconds),
        (confident, seconds),
    )
    return dict(zip(FINDERS, ((np.array(s), t) for s, t in found), strict=True))


def _cleanlab(config: RunConfig, given: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Self-confidence (N,), confident learning's suspicion (N,), and the seconds of both.

    Confident learning names issues; they come first, in the order of their self-confidence.
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


def _seconds(run: Run, n_epochs: int | None = None) -> float:
    return sum(sum(record["seconds"].values()) for record in run.epochs[:n_epochs])


EXPERIMENTS = {
    "detection": Experiment(
        "Who finds wrong labels best: MixNN, cleanlab or the plain loss?",
        runs,
        read,
        needs="cleanlab",
    )
}
