"""What the proposed label changes do to the share of right labels, and how wrong ones are ranked.

    python tests/benchmarks/bench_label_guard.py --runs DIR [--photo-rates 0,0.05,0.2,0.4]
        [--seeds 2] [--threads 1] [--out assets/results/label-guard.json]

Runs that DIR holds already are not trained again: digits (1,437 and 300) by the default preset,
2,000 photos of ../shared/data (200 of each class, labels moved to another class at random) by that
of npz. "old" is the end state of correction, which export once called corrected, and its ranking.
"variants": average precision of single kinds of evidence, wrong labels being the positives.
"raw": proposals if the network's own probability had to be 0.95, without the estimate's limit.
"""

import argparse
import io
import tarfile
from pathlib import Path

import numpy as np

from engine.analysis import label_evidence
from engine.analysis.label_issues import LabelIssues, label_issues
from engine.config import RunConfig, configure
from engine.data.images import open_image
from engine.metrics import normalized_margin
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
PER_CLASS, OF_EACH, TESTED = 200, 5000, 20


def photos(path: Path, rate: float, seed: int) -> np.ndarray:
    """Write an npz of 2,000 photos, a share `rate` of whose labels is wrong; returns the true ones.

    200 test images with right labels come along; the file does not hold the truth.
    """
    rng = np.random.default_rng(seed)
    true = np.repeat(np.arange(len(CLASSES)), PER_CLASS)
    chosen = [rng.choice(OF_EACH, PER_CLASS, replace=False) for _ in CLASSES]
    wrong = rng.choice(len(true), round(rate * len(true)), replace=False)
    given = true.copy()
    given[wrong] = (true[wrong] + rng.integers(1, len(CLASSES), len(wrong))) % len(CLASSES)
    with tarfile.open(SHARED / "cifar10_jpg.tar.xz") as tar:
        files: dict[tuple[str, str], dict[str, bytes]] = {}
        for member in tar:
            if member.isfile():
                split, name, file = member.name.split("/")
                files.setdefault((split, name), {})[file] = tar.extractfile(member).read()
    parts = {"train": chosen, "test": [np.arange(TESTED)] * len(CLASSES)}
    images = {
        part: np.stack(
            [
                _pixels(files[part, name][sorted(files[part, name])[row]])
                for name, rows in zip(CLASSES, picked, strict=True)
                for row in rows
            ]
        )
        for part, picked in parts.items()
    }
    np.savez(
        path,
        train_images=images["train"],
        train_labels=given,
        test_images=images["test"],
        test_labels=np.repeat(np.arange(len(CLASSES)), TESTED),
    )
    return true


def _pixels(jpeg: bytes) -> np.ndarray:
    with open_image(io.BytesIO(jpeg)) as image:
        return np.asarray(image)


def shares(found: LabelIssues, true: np.ndarray) -> dict[str, float]:
    """Shares of right labels: as given, with the proposed changes, by correction's end state."""
    kinds = {"given": found.given, "proposed": found.proposed, "old": found.soft_argmax}
    return {kind: float((labels == true).mean()) for kind, labels in kinds.items()}


def measure(run: RunFolder, true: np.ndarray) -> dict:
    """Everything that the table says of one run."""
    found = label_issues(run)
    wrong = found.given != true
    soft, clean = np.array(run.array("soft")[-1]), np.array(run.array("clean")[-1])
    old = {
        "flagged": (found.soft_argmax != found.given) | (clean < 0.5),
        "suspicion": 1 - normalized_margin(soft, clean, found.given),
    }
    moments = label_evidence.epoch_history(run, len(run.epochs) - 1)
    before = label_evidence.epochs_before_correction(moments)
    votes = label_evidence.neighbor_votes(moments, before)
    rows, n_before = np.arange(len(true)), len(before)
    losses = np.array(run.array("loss")[:n_before])
    variants = {
        "likelihood": 1 - found.pred_probs[rows, found.given],
        "neighbors": 1 - votes[rows, found.given],
        "p_clean before correction": 1 - found.p_clean,
        "loss before correction": losses[-1],
        "mean loss until correction": losses.mean(0),
        "mean loss, second half": losses[n_before // 2 :].mean(0),
        "contradicting epochs": (run.array("prediction")[:n_before] != found.given).mean(0),
    }
    raw = (
        (found.confidence() >= 0.95) & (found.p_clean < 0.5) & (votes.argmax(1) == found.suggested)
    )
    return {
        "n": len(true),
        "wrong": int(wrong.sum()),
        "share": shares(found, true),
        "changes": _changes(found.proposed, found.given, true),
        "changes_old": _changes(found.soft_argmax, found.given, true),
        "changes_raw": _changes(np.where(raw, found.suggested, found.given), found.given, true),
        "flagged": [len(found.flagged), int(wrong[found.flagged].sum())],
        "flagged_old": [int(old["flagged"].sum()), int((old["flagged"] & wrong).sum())],
        "estimate": found.estimate,
        "contradicted": int((found.suggested != found.given).sum()),
        "warned": found.warning is not None,
        "average_precision": _precision(wrong, 1 - found.quality),
        "average_precision_old": _precision(wrong, old["suspicion"]),
        "variants": {name: _precision(wrong, value) for name, value in variants.items()},
    }


def _changes(labels: np.ndarray, given: np.ndarray, true: np.ndarray) -> dict[str, int]:
    changed = labels != given
    return {
        "n": int(changed.sum()),
        "to_the_truth": int((changed & (labels == true)).sum()),
        "right_ones_broken": int((changed & (given == true)).sum()),
    }


def _precision(wrong: np.ndarray, suspicion: np.ndarray) -> float | None:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(wrong, suspicion)) if wrong.any() else None


def cases(folder: Path, arguments: argparse.Namespace):
    """Name, settings and true labels (None: in the run folder) of every run."""
    for seed in range(max(arguments.seeds, 3)):
        for limit in (None, 300):
            for rate in (0.0, 0.2, 0.4) if limit is None else (0.0, 0.2):
                noise = "symmetric-exclusive" if rate else "none"
                config = configure(
                    dataset="digits",
                    limit=limit,
                    noise=noise,
                    rate=rate,
                    seed=seed,
                    threads=arguments.threads,
                )
                yield f"digits{limit or ''}-{rate:g}-s{seed}", config, None
    for seed in range(arguments.seeds):
        for rate in map(float, arguments.photo_rates.split(",")):
            file = folder / f"photos-{rate:g}-s{seed}.npz"
            true = photos(file, rate, seed)
            config = configure(
                dataset=f"npz:{file}", noise="none", seed=seed, threads=arguments.threads
            )
            yield file.stem, config, true


def trained(folder: Path, config: RunConfig) -> RunFolder:
    if not (folder / "config.json").exists():
        Runner.new(config, folder).run()
    run = RunFolder(folder)
    if run.status["state"] != "done":
        raise SystemExit(f"{folder} is {run.status['state']}: delete it, or resume it")
    return run


def main() -> None:
    from common import finish, options

    from engine.hardware import choose_device, hardware_info

    parser = options(__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="folder for the runs, kept")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--photo-rates", default="0,0.05,0.2,0.4")
    arguments = parser.parse_args()
    measured_on = hardware_info(choose_device(arguments.device))
    arguments.runs.mkdir(parents=True, exist_ok=True)
    results = {}
    for name, config, true in cases(arguments.runs, arguments):
        run = trained(arguments.runs / name, config)
        results[name] = measure(run, run.labels["true"] if true is None else true)
        print(name, results[name], flush=True)
    settings = {"photo_rates": arguments.photo_rates, "seeds": arguments.seeds}
    finish("label_guard", measured_on, settings, results, arguments.out)


if __name__ == "__main__":
    main()
