"""Detection of wrong labels: MixNN, its parts, cleanlab and ranking by the loss.

On simulated noise by rate; on human labels (noise `human`) by the set of labels, and there beside
the published scores of the same labels.
"""

import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from engine.analysis.label_evidence import epoch_history, epochs_before_correction
from engine.analysis.label_issues import label_issues
from engine.analysis.statistics import differences, format_mean, means
from engine.config import RunConfig
from engine.data import load_data
from engine.experiments.base import RATES, Experiment, Findings, Plan, Results, pick
from engine.hardware import choose_device, choose_threads
from engine.runs.folder import RunFolder
from engine.training.cross_validation import cross_val_predict_proba

OURS, CLEANLAB = "MixNN, label quality", "cleanlab, self-confidence"
MEASURES = ("average_precision", "precision_at_wrong", "auroc", "seconds")
RECALLS = np.linspace(0.02, 1, 50)
# cleanlab needs out-of-sample probabilities: five folds, as in its guides; ten epochs each, after
# which held-out accuracy on digits no longer rises
FOLDS, FOLD_EPOCHS = 5, 10
HUMAN_SETS = {"cifar10": ("aggre", "worse"), "cifar100": ("noisy",)}
# CIFAR-10N, all 50,000 images: scores of 1 - p(given) by cleanlab's published out-of-fold
# probabilities of pretrained networks (cleanlab/label-error-detection-benchmarks 5f4f83a, where
# `worse` is called worst): average precision, precision at the number of wrong labels, AUROC
PUBLISHED = {
    "aggre": {
        "ResNet-18": (0.875, 0.792, 0.977),
        "ResNet-50d": (0.892, 0.814, 0.980),
        "Swin-B": (0.977, 0.932, 0.996),
    },
    "worse": {
        "ResNet-18": (0.951, 0.874, 0.963),
        "ResNet-50d": (0.967, 0.903, 0.976),
        "Swin-B": (0.988, 0.948, 0.991),
    },
}


def configs(plan: Plan) -> list[RunConfig]:
    """Cross-entropy and MixNN at every rate, or MixNN on every set of human labels."""
    labels = _labels(plan)
    return plan.grid(method=("ce", "mixnn") if "rate" in labels else "mixnn", **labels)


def evaluate(results: Results) -> Findings:
    """Scores of every finder, with MixNN's label quality as the reference."""
    (labels,) = _labels(results.plan)
    scores, curves = _scores(results, labels)
    final = means(scores, [labels, "finder"], MEASURES)
    ours = scores[scores["finder"] == OURS].drop(columns="finder")
    against = differences(scores[scores["finder"] != OURS], ours, [labels, "finder"], MEASURES)
    tables = {
        "scores": final,
        "against_mixnn": against,
        "curves": means(curves, [labels, "finder", "recall"], ["precision"]),
    }
    answers = []
    for value in sorted(scores[labels].unique()):
        at = {labels: value, "metric": "average_precision"}
        part = _rows(final, **at).sort_values("mean", ascending=False)
        ranking = [
            f"{row['finder']} {format_mean(row, percent=False)}" for _, row in part.iterrows()
        ]
        answers.append(
            f"{_words(results, labels, value)}, average precision: {'; '.join(ranking)}. "
            f"{_compared(_rows(against, **at))}"
        )
    if labels == "human_labels" and results.plan.family == "cifar10":
        published = _published(final)
        tables |= {"published": published} if len(published) else {}
        answers += _gaps(results, published)
    return Findings(tables, answers)


def _labels(plan: Plan) -> dict[str, tuple]:
    """The setting that makes the noisy labels of this plan, and its values."""
    if plan.settings.get("noise") != "human":
        return {"rate": RATES}
    own = plan.preset().human_labels
    every = HUMAN_SETS.get(plan.family, (own,))
    return {"human_labels": (own,) if "human_labels" in plan.settings else every}


def _words(results: Results, labels: str, value: float | str) -> str:
    """The noisy labels of an answer in words: "At rate 0.4"."""
    if labels == "rate":
        return f"At rate {value:g}"
    row = pick(results.last, **{labels: value})
    wrong, n = row["rate_actual"], row["n_train"]
    return f"Human labels {value} ({100 * wrong:.1f} % of {n:,} wrong, k = {wrong * n:.0f})"


def _compared(against: pd.DataFrame) -> str:
    """Which finders are better than ours, by their rows of `differences`."""
    if against["p"].isna().all():
        return "With one seed no difference is tested."
    better = [r["finder"] for _, r in against.iterrows() if r["clear"] and r["mean"] > 0]
    equal = [r["finder"] for _, r in against.iterrows() if not r["clear"]]
    return (
        f"Better than {OURS}: {', '.join(better) or 'none'}; not significantly different: "
        f"{', '.join(equal) or 'none'}."
    )


def _published(final: pd.DataFrame) -> pd.DataFrame:
    """The scores here beside the published ones of the same labels; gap: here minus published."""
    rows = []
    for value, backbones in PUBLISHED.items():
        for backbone, numbers in backbones.items():
            for metric, published in zip(MEASURES, numbers, strict=False):  # seconds: not published
                for finder in (OURS, CLEANLAB):
                    here = _rows(final, human_labels=value, metric=metric, finder=finder)
                    rows += [
                        dict(human_labels=value, backbone=backbone, metric=metric, finder=finder)
                        | dict(published=published, mean=mean, gap=mean - published)
                        for mean in here["mean"]
                    ]
    columns = ["human_labels", "backbone", "metric", "finder", "published", "mean", "gap"]
    return pd.DataFrame(rows, columns=columns)


def _gaps(results: Results, published: pd.DataFrame) -> list[str]:
    """Sentences on how far the average precision is from the published one."""
    part = _rows(published, metric="average_precision", finder=OURS)
    n = results.last["n_train"].max()
    return [
        f"Human labels {value}: cleanlab's published probabilities of pretrained networks, trained "
        f"on all 50,000 images, reach an average precision of "
        f"{', '.join(f'{r.published:.3f} ({r.backbone})' for r in rows.itertuples())}; {OURS}, "
        f"trained from scratch on {n:,}, differs from them by "
        f"{', '.join(f'{r.gap:+.3f}' for r in rows.itertuples())}."
        for value, rows in part.groupby("human_labels")
    ]


def _rows(frame: pd.DataFrame, **where: float | str) -> pd.DataFrame:
    for name, value in where.items():
        frame = frame[frame[name] == value]
    return frame


def _scores(results: Results, labels: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores and precision-recall curves of every finder, for each seed and value of labels."""
    scores, curves = [], []
    by_mixing: dict[str, dict[tuple[float | str, int], RunFolder]] = {"none": {}, "neighbors": {}}
    for run in results.runs.values():
        by_mixing[run.config.mixing][getattr(run.config, labels), run.config.seed] = run
    for (value, seed), mixnn in by_mixing["neighbors"].items():
        wrong = mixnn.labels["given"] != mixnn.labels["true"]
        suspicions = _suspicions(mixnn, by_mixing["none"].get((value, seed)))
        for finder, (suspicion, seconds) in suspicions.items():
            at = {labels: value, "seed": seed, "finder": finder}
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


VOTES = {"neighbors": "neighbors' labels", "linear": "the linear vote"}  # by vote_from


def _suspicions(mixnn: RunFolder, ce: RunFolder | None) -> dict[str, tuple[np.ndarray, float]]:
    """Finder -> suspicion of each given label (N,), and its computing time in seconds.

    ce: the run of cross-entropy on the same labels; its finder is left out without it.
    """
    given = mixnn.labels["given"]
    before = epochs_before_correction(epoch_history(mixnn, len(mixnn.epochs) - 1))
    issues = label_issues(mixnn)
    votes, voted = issues.votes[np.arange(len(given)), given], VOTES[issues.voter]
    n_before = max(1, len(before))
    n_warm = max(1, mixnn.config.warmup)
    early = _seconds(mixnn, n_before)
    self_confidence, confident, seconds = _cleanlab(mixnn)
    loss = mixnn.array("loss")
    found = {
        OURS: (1 - issues.quality, early),  # from the epochs before correction alone
        "MixNN, P(clean) before correction": (1 - mixnn.array("clean")[n_before - 1], early),
        # nan: no neighbor is known
        f"MixNN, {voted} before correction": (1 - np.nan_to_num(votes, nan=0.5), early),
        "mean loss before correction": (loss[:n_before].mean(0), early),
        "loss after warm-up": (loss[n_warm - 1], _seconds(mixnn, n_warm)),
        CLEANLAB: (1 - self_confidence, seconds),
        "cleanlab, confident learning": (confident, seconds),
    }
    if ce is not None:
        found["loss of cross-entropy, last"] = ce.array("loss")[-1], _seconds(ce)
    return {finder: (np.array(suspicion), spent) for finder, (suspicion, spent) in found.items()}


def _cleanlab(run: RunFolder) -> tuple[np.ndarray, np.ndarray, float]:
    """Self-confidence (N,), confident learning's suspicion (N,), and the seconds of both.

    Confident learning returns a set of issues; they rank first, ordered by self-confidence.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    given = run.labels["given"]
    probabilities, seconds = out_of_fold(run)
    start = time.perf_counter()
    confidence = get_label_quality_scores(given, probabilities, method="self_confidence")
    issues = find_label_issues(given, probabilities, n_jobs=1)
    return confidence, issues + (1 - confidence), seconds + time.perf_counter() - start


def out_of_fold(run: RunFolder) -> tuple[np.ndarray, float]:
    """Out-of-fold probabilities (N, C) of a run's labels and network, and the seconds they took.

    Computed once and kept in the run's folder, since they cost as much as the run itself.
    """
    path = Path(run.folder) / f"out_of_fold_{FOLDS}x{FOLD_EPOCHS}.npz"
    try:
        with np.load(path, allow_pickle=False) as kept:
            probabilities, seconds = kept["probabilities"], float(kept["seconds"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # not there, or torn
        probabilities, seconds = _cross_validate(run)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        with temporary.open("wb") as file:
            np.savez(file, probabilities=probabilities, seconds=np.float64(seconds))
        os.replace(temporary, path)
    return probabilities, seconds


def _cross_validate(run: RunFolder) -> tuple[np.ndarray, float]:
    config, start = run.config, time.perf_counter()
    probabilities = cross_val_predict_proba(
        load_data(config),
        run.labels["given"],
        n_folds=FOLDS,
        epochs=FOLD_EPOCHS,
        seed=config.seed,
        network=config.network,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        augmentation=config.augment,
        threads=choose_threads(config.threads, config.network),
        on=choose_device(config.device),
    )
    return probabilities, time.perf_counter() - start


def _seconds(run: RunFolder, n_epochs: int | None = None) -> float:
    return sum(sum(record["seconds"].values()) for record in run.epochs[:n_epochs])


EXPERIMENTS = {"detection": Experiment(configs, evaluate)}
