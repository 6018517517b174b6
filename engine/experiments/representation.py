"""Do classes stay together in feature space although labels are wrong?"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch

from engine.analysis.statistics import describe_difference, differences, format_mean, means
from engine.config import RunConfig
from engine.embedding import projection
from engine.experiments.base import RATES, Experiment, Findings, Plan, Results, last_epochs, pick
from engine.method.neighbors import nearest
from engine.runs.folder import RunFolder

METHODS = ("ce", "mixnn")
MEASURES = ("same_class_neighbors", "silhouette", "linear_probe")
N_EPOCHS = 10  # measured epochs of a run, including the first and the last
N_SAMPLES = 2000  # of the panel; a silhouette needs all pairs
N_NEIGHBORS = 10
FOLDS = 5  # of the linear probe
SHOWN_RATE = 0.4  # of the maps


def configs(plan: Plan) -> list[RunConfig]:
    """Cross-entropy and MixNN at every rate."""
    return plan.grid(method=METHODS, rate=RATES)


def evaluate(results: Results) -> Findings:
    """Separation of the true classes in feature space, of clean and of wrong labels."""
    rows = [row for run in results.runs.values() for row in _epochs_of(run)]
    frame = pd.DataFrame(rows)
    curves = means(frame, ["method", "rate", "epoch", "labels"], MEASURES)
    last = last_epochs(frame)
    final = means(last, ["method", "rate", "labels"], MEASURES)
    ce, ours = (last[last["method"] == m].drop(columns="method") for m in METHODS)
    gain = differences(ours, ce, ["rate", "labels"], MEASURES)
    first = frame[frame["epoch"] == frame["epoch"].min()]
    best = frame.groupby(["run", "labels"])["same_class_neighbors"].max()
    lost = last.assign(
        same_class_neighbors=last["same_class_neighbors"]
        - [best[key] for key in zip(last["run"], last["labels"], strict=True)]
    )
    lost = means(lost, ["method", "rate", "labels"], MEASURES[:1])
    answers = []
    for rate in sorted(last["rate"].unique()):
        values = []
        for method in METHODS:
            where = dict(rate=rate, method=method, labels="wrong")
            values.append(
                f"{method} {format_mean(pick(final, metric='same_class_neighbors', **where))} "
                f"(since its best epoch {format_mean(pick(lost, **where), sign=True)}), linear "
                f"probe {format_mean(pick(final, metric='linear_probe', **where))}"
            )
        row = pick(gain, rate=rate, labels="wrong", metric="same_class_neighbors")
        answers.append(
            f"At rate {rate:g}, the share of wrongly labeled samples' neighbors that are of the "
            f"true class, last epoch: {'; '.join(values)}. MixNN against cross-entropy: "
            f"{format_mean(row, sign=True)} "
            f"({describe_difference(row, more='closer together', less='farther apart')})."
        )
    tables = {
        "curves": curves,
        "final": final,
        "gain": gain,
        "first": means(first, ["method", "rate", "labels"], MEASURES),
        "points": _points(results),
    }
    return Findings(tables, answers)


def measure(features: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
    """How close each sample is to its true class, (P,) float each; 1 = closest.

    features: (P, D) float; true: (P,) class ids. same_class_neighbors: share of the 10 nearest that
    are of the true class. silhouette: in [-1, 1], of the true classes. linear_probe: whether a
    ridge classifier, trained on the true labels of the other folds, predicts the true class.
    """
    from sklearn.linear_model import RidgeClassifier  # late: it takes a second
    from sklearn.metrics import silhouette_samples
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = np.nan_to_num(features.astype(np.float32), posinf=projection.LARGEST)
    neighbors, _ = nearest(torch.from_numpy(features), N_NEIGHBORS, backend="exact")
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(features, true)
    probe = make_pipeline(StandardScaler(), RidgeClassifier())
    return {
        "same_class_neighbors": (true[neighbors.numpy()] == true[:, None]).mean(1),
        "silhouette": silhouette_samples(features, true),
        "linear_probe": (cross_val_predict(probe, features, true, cv=list(folds)) == true) * 1.0,
    }


def _epochs_of(run: RunFolder) -> Iterator[dict[str, Any]]:
    """Rows of a run: each measured epoch, once for clean and once for wrong labels."""
    of_run = {
        "run": run.folder.name,
        "method": run.config.method,
        "rate": run.config.rate,
        "seed": run.config.seed,
    }
    records = run.epochs
    panel = run.labels["panel"][:N_SAMPLES]
    true, wrong = run.labels["true"][panel], (run.labels["given"] != run.labels["true"])[panel]
    features = run.array("panel_features", len(records))
    for row in np.unique(np.linspace(0, len(records) - 1, N_EPOCHS).round().astype(int)):
        measured = measure(np.array(features[row][:N_SAMPLES]), true)
        for labels, part in (("clean", ~wrong), ("wrong", wrong)):
            if part.any():
                shares = {name: float(values[part].mean()) for name, values in measured.items()}
                yield of_run | {"epoch": records[row]["epoch"], "labels": labels} | shares


def _points(results: Results) -> pd.DataFrame:
    """PCA and UMAP of the panel in the first seed's runs: early, in the middle, at the end."""
    parts = []
    for run in results.runs.values():
        if run.config.rate != SHOWN_RATE or run.config.seed != results.plan.seeds[0]:
            continue
        panel = run.labels["panel"][:N_SAMPLES]
        true, given = run.labels["true"][panel], run.labels["given"][panel]
        records = run.epochs
        for row in sorted({0, len(records) // 2, len(records) - 1}):
            features = np.array(run.array("panel_features")[row][:N_SAMPLES])
            for layout, embed in (("pca", projection.pca), ("umap", projection.umap)):
                x, y = embed(features, 2).T
                parts.append(pd.DataFrame({
                    "method": run.config.method, "epoch": records[row]["epoch"], "layout": layout,
                    "x": x, "y": y, "true": true, "wrong": given != true,
                }))  # fmt: skip
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


EXPERIMENTS = {"representation": Experiment(configs, evaluate)}
