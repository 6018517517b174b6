"""What the proposed label changes do to the share of right labels, and how wrong ones are ranked.

    MIXNN_DATA=DIR python tests/benchmarks/bench_label_guard.py --runs DIR [--cases photos-0.2 ...]
        [--seeds 3] [--folds 10] [--whole] [--threads 1] [--out assets/results/label-guard.json]

One row for every case and seed; rows that the JSON file has are kept, and it is written after each.
Runs use the preset that an owner's file gets and are stopped when correction starts, since no later
epoch is used (--whole trains on, to measure "old": the end state of correction, which export once
called corrected). A run that a kill left unfinished is resumed. DIR of MIXNN_DATA holds cifar10.npz
and cifar10n_labels.npz. The runs do not know the true labels.

"average_precision": of `quality`, and of single kinds of evidence, wrong labels being the
positives; "at_a_third": what quality reaches with the epochs that take a third of cleanlab's time;
"cleanlab": self-confidence of five folds of the same network, --folds epochs each (0: left out).
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

from engine.analysis import label_evidence
from engine.analysis.label_issues import LabelIssues, label_issues
from engine.config import RunConfig, configure, corrects
from engine.config.presets import PRESETS
from engine.data import load_data
from engine.method.noise_estimate import true_class_probability
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner

CIFAR_FLIPS = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}  # asymmetric noise: truck -> automobile, ...
RARE = 8  # the digit that is the rare class
N_TEST = 200
RATES = (0.0, 0.05, 0.2, 0.4)
PHOTO_NOISE = (*map(str, RATES), "asymmetric0.4", "aggre", "worse")
CASES = (
    *(f"digits-{rate}" for rate in (*RATES, "pair0.2")),
    "digits300-0.0",
    "rare-0.1",
    "shapes-0.1",
    *(f"photos2000-{noise}" for noise in PHOTO_NOISE),
    *(f"photos10000-{noise}" for noise in PHOTO_NOISE),
)


def write_case(path: Path, case: str, seed: int) -> np.ndarray:
    """Write the npz of a case, which does not hold the truth; returns the true labels (N,)."""
    rng = np.random.default_rng((seed, 17))
    kind, _, noise = case.partition("-")
    images, true, test_images, test_labels, rows = _images(kind, rng, seed)
    np.savez(
        path,
        train_images=images,
        train_labels=_labels(true, noise, rows, rng),
        test_images=test_images,
        test_labels=test_labels,
    )
    return true


def _images(kind: str, rng: np.random.Generator, seed: int) -> tuple[np.ndarray, ...]:
    """Images, true labels, test images, test labels; rows of CIFAR-10, in other cases unused."""
    if kind.startswith("photos"):
        with np.load(Path(os.environ["MIXNN_DATA"]) / "cifar10.npz") as file:
            images, true = file["train_images"], file["train_labels"].ravel().astype(np.int64)
            test = file["test_images"][:N_TEST], file["test_labels"].ravel()[:N_TEST]
        rows = _of_each(true, range(10), int(kind.removeprefix("photos")) // 10, rng)
        return images[rows], true[rows], *test, rows
    name = "shapes:2000" if kind == "shapes" else "digits"
    data = load_data(configure(dataset=name, seed=seed))
    images, test_images = (
        part.permute(0, 2, 3, 1).numpy().squeeze() for part in (data.images, data.test_images)
    )
    true, test_labels = data.labels.numpy(), data.test_labels.numpy()
    rows = np.arange(len(true))
    if kind == "digits300":
        rows = _of_each(true, range(10), 30, rng)
    elif kind == "rare":
        true, test_labels = (labels == RARE for labels in (true, test_labels))
        rows = np.concatenate([_of_each(true, [0], 1200, rng), _of_each(true, [1], 60, rng)])
        true, test_labels = true.astype(np.int64), test_labels.astype(np.int64)
    return images[rows], true[rows], test_images[:N_TEST], test_labels[:N_TEST], rows


def _of_each(labels: np.ndarray, classes, n: int, rng: np.random.Generator) -> np.ndarray:
    """n rows of each class, shuffled."""
    rows = [rng.choice(np.flatnonzero(labels == c), n, replace=False) for c in classes]
    return rng.permutation(np.concatenate(rows))


def _labels(true: np.ndarray, noise: str, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Given labels (N,); a rate is the exact share of wrong ones."""
    given, n_classes = true.copy(), int(true.max()) + 1
    if noise in ("aggre", "worse"):
        with np.load(Path(os.environ["MIXNN_DATA"]) / "cifar10n_labels.npz") as file:
            return file[f"{noise}_label"].astype(np.int64)[rows]
    if noise.startswith("asymmetric"):
        rate = float(noise.removeprefix("asymmetric"))
        for source, target in CIFAR_FLIPS.items():
            members = np.flatnonzero(true == source)
            given[rng.choice(members, round(rate * len(members)), replace=False)] = target
        return given
    wrong = rng.choice(len(true), round(float(noise.removeprefix("pair")) * len(true)), False)
    steps = 1 if noise.startswith("pair") else rng.integers(1, n_classes, len(wrong))
    given[wrong] = (true[wrong] + steps) % n_classes
    return given


def config_of(path: Path, case: str, seed: int, threads: int) -> RunConfig:
    """The settings of a run on the file of a case."""
    own = PRESETS["digits"] if case.startswith(("digits", "rare")) else {}
    return configure(dataset=f"npz:{path}", noise="none", seed=seed, threads=threads, **own)


def trained(folder: Path, config: RunConfig, whole: bool) -> RunFolder:
    """The run, trained at least until correction starts."""
    enough = config.epochs if whole else config.correction_start
    exists = (folder / "config.json").exists()
    if not exists or len(RunFolder(folder).epochs) < enough:
        runner = Runner.resume(folder) if exists else Runner.new(config, folder)
        # called after every batch, the first of the next epoch included
        runner.run(lambda: runner.stop() if runner.status.epoch >= enough else None)
    run = RunFolder(folder)
    if len(run.epochs) < enough:
        raise SystemExit(f"{folder} is {run.status}")
    return run


def shares(found: LabelIssues, true: np.ndarray) -> dict[str, float]:
    """Shares of right labels: as given, with the proposed changes, by correction's end state."""
    kinds = {"given": found.given, "proposed": found.proposed, "old": found.soft_argmax}
    return {kind: float((labels == true).mean()) for kind, labels in kinds.items()}


def measure(run: RunFolder, true: np.ndarray) -> dict:
    """Everything that the table says of one run."""
    found = label_issues(run)
    wrong, changed = found.given != true, found.proposed != found.given
    limit = 2 * int(wrong.sum()) + 0.01 * len(true)
    assert found.noise is not None
    return {
        "n": len(true),
        "wrong": int(wrong.sum()),
        "estimate": [round(found.noise.n_wrong), *map(round, found.noise.interval)],
        "flagged": [len(found.flagged), int(wrong[found.flagged].sum())],
        "flagged_within_limit": len(found.flagged) <= limit,
        "changes": {
            "n": int(changed.sum()),
            "to_the_truth": int((changed & (found.proposed == true)).sum()),
            "right_ones_broken": int((changed & ~wrong).sum()),
        },
        "share": shares(found, true),
        "warning": found.warning,
        "average_precision": {
            name: _precision(wrong, -score) for name, score in evidence(run, found).items()
        },
    }


def evidence(run: RunFolder, found: LabelIssues) -> dict[str, np.ndarray]:
    """Scores (N,) of the given labels by single kinds of evidence and by combinations."""
    epochs = label_evidence.epoch_history(run, len(run.epochs) - 1)
    before = label_evidence.epochs_before_correction(epochs)
    rows, given = np.arange(len(found.given)), found.given
    loss = np.stack([epoch.run.row("loss", epoch.row) for epoch in before])
    prediction = np.stack([epoch.run.row("prediction", epoch.row) for epoch in before])
    confidence = np.stack([epoch.run.row("confidence", epoch.row) for epoch in before])
    own, later = np.exp(-loss), slice(len(before) // 2, None)
    # of a predicted label the second largest probability is not stored: at most the rest
    margin = np.where(prediction == given, 2 * confidence - 1, own - confidence)
    votes = found.votes[rows, given]
    assert found.noise is not None
    posterior = true_class_probability(found.votes, found.pred_probs, given, found.noise)
    ranks = sum(np.argsort(np.argsort(score)) for score in (-loss[later].mean(0), votes))
    odds = [np.log(s.clip(1e-4) / (1 - s).clip(1e-4)) for s in (own[later].mean(0), votes)]
    return {
        "quality": found.quality,
        "log-probability, later half": -loss[later].mean(0),
        "log-probability, all epochs": -loss.mean(0),
        "probability, later half": own[later].mean(0),
        "margin (AUM), all epochs": margin.mean(0),
        "margin (AUM), later half": margin[later].mean(0),
        "contradicting epochs": (prediction == given).mean(0),
        "loss, last epoch": -loss[-1],
        "P(clean), last epoch": found.p_clean,
        "neighbor votes": votes,
        "P(true class is the given one)": posterior[rows, given],
        "average of ranks": ranks.astype(float),
        "average of log-odds": sum(odds),
        "geometric mean, all classes alike": np.exp(-loss[later].mean(0)) * (votes + 0.02),
    }


def cleanlab(config: RunConfig, epochs: int) -> tuple[np.ndarray, float]:
    """Self-confidence (N,) by out-of-fold probabilities, and the seconds that it took."""
    from cleanlab.rank import get_label_quality_scores

    from engine.hardware import choose_device
    from engine.training.cross_validation import cross_val_predict_proba

    data, start = load_data(config), time.perf_counter()
    given = data.labels.numpy()
    probabilities = cross_val_predict_proba(
        data,
        given,
        n_folds=5,
        epochs=epochs,
        seed=config.seed,
        network=config.network,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        augmentation=config.augment,
        threads=config.threads,
        on=choose_device(config.device),
    )
    seconds = time.perf_counter() - start
    return get_label_quality_scores(given, probabilities, method="self_confidence"), seconds


def _precision(wrong: np.ndarray, suspicion: np.ndarray) -> float | None:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(wrong, suspicion)) if wrong.any() else None


def row_of(case: str, seed: int, arguments: argparse.Namespace) -> dict:
    """Train what is missing, and measure one row of the table."""
    name = f"{case}-s{seed}"
    path = (arguments.runs / f"{name}.npz").resolve()
    true = write_case(path, case, seed)
    config = config_of(path, case, seed, arguments.threads)
    run = trained(arguments.runs / name, config, arguments.whole)
    row = measure(run, true)
    used = [r for r in run.epochs if not corrects(config, r["epoch"])]
    seconds = np.cumsum([sum(record["seconds"].values()) for record in used])
    row |= {"epoch": used[-1]["epoch"], "seconds": round(float(seconds[-1]), 1)}
    if arguments.folds and row["wrong"]:
        confidence, took = cleanlab(config, arguments.folds)
        wrong = run.labels["given"] != true
        third = max(int(np.searchsorted(seconds, took / 3)) - 1, 0)
        row["cleanlab"] = {
            "epochs": arguments.folds,
            "average_precision": _precision(wrong, -confidence),
            "seconds": round(took, 1),
        }
        early = label_issues(run, third)
        row["at_a_third"] = {"epoch": third, "average_precision": _precision(wrong, -early.quality)}
    return row


def main() -> None:
    from common import finish, options

    from engine.hardware import choose_device, hardware_info

    parser = options(__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="folder for the runs, kept")
    parser.add_argument("--cases", nargs="*", default=CASES, choices=CASES, metavar="CASE")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=10, help="epochs of each of cleanlab's folds")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    measured_on = hardware_info(choose_device(arguments.device))
    arguments.runs.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict] = {}
    if arguments.out and arguments.out.exists():
        results = json.loads(arguments.out.read_text())["results"]
    for seed in range(arguments.seeds):
        for case in arguments.cases:
            if (name := f"{case}-s{seed}") in results:
                continue
            results[name] = row_of(case, seed, arguments)
            settings = {"folds": arguments.folds, "whole": arguments.whole}
            finish("label_guard", measured_on, settings, results, arguments.out)


if __name__ == "__main__":
    main()
