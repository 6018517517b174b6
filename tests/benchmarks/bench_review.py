"""Reviewing labels on the wall: what a reviewer finds in its order, and how fast it is.

    MIXNN_DATA=DIR python tests/benchmarks/bench_review.py --runs DIR [--case photos10000-aggre]
        [--epochs 25] [--folds 0] [--parts reviewer browser] [--out assets/results/review.json]

reviewer: someone who looks at images in an order, sees the truth and gives each the right label.
Share of the wrong labels corrected after 5 to 30 % of the images; images needed for 80 % of them,
by the order of the wall ("doubt", "pairs", "look-alikes") and by others: P(the label is wrong), the
network's out-of-fold probabilities (--folds; 0: left out), and a logistic regression on the
evidence that learns from each 100 decisions ("learned", which the wall does not do). "expected":
mistakes in accepting all suggestions of at least 80 %, and wrong labels that remain, as the wall
estimates both, beside the true numbers. The run is that of bench_label_guard.py, trained
until --epochs; it does not know the true labels.

browser: milliseconds between two frames of Chromium without a GPU while the wall of this run
scrolls, and decisions by key in groups (A selects a group, K keeps it) until all are stored.
"""

import argparse
import sys
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[2]))

from bench_label_guard import CASES, config_of, write_case
from common import finish, options
from served import server

from engine.analysis import review_order
from engine.analysis.label_issues import LabelIssues, label_issues
from engine.data import load_data
from engine.hardware import choose_device, hardware_info
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner
from engine.training.cross_validation import cross_val_predict_proba

SHARES = (0.05, 0.1, 0.15, 0.2, 0.3)
GOAL = 0.8  # of the wrong labels
SPREAD, LEAST = 0.8, 1e-4  # as in app/components/wall/estimate.js
GROUPS = 40  # decided by key
SCROLL = """() => new Promise((resolve) => {
    const roots = [...document.querySelectorAll("*")].map((e) => e.shadowRoot).filter(Boolean);
    const wall = roots.map((root) => root.querySelector(".scroller")).find(Boolean);
    const frames = [];
    let before = 0, way = 1;
    const step = (now) => {
        if (before) frames.push(now - before);
        before = now;
        const top = wall.scrollTop;
        wall.scrollTop += 40 * way;
        if (wall.scrollTop === top) way = -way;
        if (frames.length < 600) requestAnimationFrame(step);
        else resolve({ frames, rows: wall.getAttribute("aria-rowcount") });
    };
    requestAnimationFrame(step);
})"""


def trained(folder: Path, arguments: argparse.Namespace) -> tuple[RunFolder, np.ndarray]:
    """The run of the case after --epochs at least, and the true labels (N,)."""
    name = f"{arguments.case}-s0"
    path = (folder / f"{name}.npz").resolve()
    true = write_case(path, arguments.case, 0)
    config = config_of(path, arguments.case, 0, 1)
    target = folder / name
    exists = (target / "config.json").exists()
    if not exists or len(RunFolder(target).epochs) < arguments.epochs:
        runner = Runner.resume(target) if exists else Runner.new(config, target)
        runner.run(lambda: runner.stop() if runner.status.epoch >= arguments.epochs else None)
    return RunFolder(target), true


def reached(order: np.ndarray, wrong: np.ndarray) -> dict[str, Any]:
    """What a reviewer finds who looks at images (N,) in an order. wrong: (N,) bool."""
    found = np.cumsum(wrong[order]) / wrong.sum()
    return {
        "corrected": {f"{s:g}": float(found[int(len(order) * s) - 1]) for s in SHARES},
        "share_for_80_percent": float((np.searchsorted(found, GOAL) + 1) / len(order)),
    }


def orders(run: RunFolder, found: LabelIssues) -> dict[str, np.ndarray]:
    """The wall's orders, and P(the label is wrong)."""
    doubt = review_order.doubt_of(found)
    order, row = doubt.order, len(run.epochs) - 1
    given, suggested, wrong = found.given[order], found.suggested[order], doubt.wrong[order]
    pairs = review_order.by_pair(given, suggested, wrong)
    alike = review_order.by_look_alikes(run, row, order, given, wrong)
    return {
        "doubt": order,
        "pairs": order[pairs.order],
        "look-alikes": order[alike.order],
        "P(wrong)": np.argsort(-doubt.wrong, kind="stable"),
    }


def learned(found: LabelIssues, wrong: np.ndarray, step: int = 100, start: int = 300) -> np.ndarray:
    """The order of a reviewer whose decisions rank the rest again after each `step`."""
    from sklearn.linear_model import LogisticRegression

    n, n_classes = found.pred_probs.shape
    rows, given = np.arange(n), found.given
    votes = np.nan_to_num(found.votes, nan=1 / n_classes)
    rivals = found.pred_probs * (votes + 0.02)
    rivals[rows, given] = 0
    rival = rivals.argmax(1)
    shares = [p[rows, c] for p in (votes, found.pred_probs) for c in (given, rival)]
    numbers = [np.log(found.quality.clip(1e-4)), *(_logit(share) for share in shares)]
    evidence = np.stack([(x - x.mean()) / max(x.std(), 1e-9) for x in numbers], 1)
    pairs = 0.5 * np.eye(n_classes)[given], 0.5 * np.eye(n_classes)[rival]
    table = np.concatenate([evidence, *pairs], 1)
    first = np.argsort(found.quality, kind="stable")
    order: list[int] = first[:start].tolist()
    while len(order) < n:
        rest = np.setdiff1d(rows, order)
        if len(order) < 0.35 * n:
            model = LogisticRegression(C=0.1, max_iter=500).fit(table[order], wrong[order])
            rest = rest[np.argsort(-model.decision_function(table[rest]), kind="stable")][:step]
        order += rest.tolist()
    return np.array(order)


def _logit(share: np.ndarray) -> np.ndarray:
    share = share.clip(1e-3, 1 - 1e-3)
    return np.log(share / (1 - share))


def expected(found: LabelIssues, true: np.ndarray) -> dict[str, float]:
    """The wall's two estimates, and the true numbers."""
    doubt = review_order.doubt_of(found)
    wrong = found.given != true
    sure = (found.suggested != found.given) & (found.probability >= 0.8)
    return {
        "accepted": int(sure.sum()),
        "mistakes_expected": float((1 - found.probability[sure]).sum()),
        "mistakes": int((found.suggested != true)[sure].sum()),
        "remaining": {f"{share:g}": remaining(doubt, wrong, share) for share in (0.01, *SHARES)},
    }


def remaining(doubt: review_order.Doubt, wrong: np.ndarray, share: float) -> tuple[int, int]:
    """Wrong labels after a share of the images in order of doubt: as estimated, and true."""
    p = doubt.wrong.clip(LEAST, 1 - LEAST)
    odds, n = np.log(p / (1 - p)), int(share * len(p))
    looked, rest = doubt.order[:n], doubt.order[n:]
    low, high = -10.0, 10.0
    for _ in range(50):
        shift = (low + high) / 2
        expected = (1 / (1 + np.exp(-odds[looked] - shift))).sum() + shift / SPREAD**2
        low, high = (shift, high) if expected < wrong[looked].sum() else (low, shift)
    return round(float((1 / (1 + np.exp(-odds[rest] - low))).sum())), int(wrong[rest].sum())


def reviewer(run: RunFolder, true: np.ndarray, folds: int) -> dict[str, Any]:
    """Every order, and the estimates."""
    found = label_issues(run)
    wrong = found.given != true
    results = {name: reached(order, wrong) for name, order in orders(run, found).items()}
    results["learned"] = reached(learned(found, wrong), wrong)
    if folds:
        config = run.config
        probabilities = cross_val_predict_proba(
            load_data(config), found.given, n_folds=folds, epochs=8, seed=config.seed,
            network=config.network, batch_size=config.batch_size,
            learning_rate=config.learning_rate, augmentation=config.augment, threads=1,
        )  # fmt: skip
        own = probabilities[np.arange(len(true)), found.given]
        results["out-of-fold"] = reached(np.argsort(own, kind="stable"), wrong)
    return {
        "n": len(true),
        "wrong": int(wrong.sum()),
        "epochs": len(run.epochs),
        "orders": results,
        "expected": expected(found, true),
    }


def browser(run: RunFolder) -> dict[str, Any]:
    """Frame times and decisions a minute of the wall of a run."""
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import CHROMIUM, FLAGS

    with server(run.folder.parent) as url, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        tab = chromium.new_page(viewport={"width": 1280, "height": 900})
        tab.set_default_timeout(300_000)
        name = run.folder.name
        tab.goto(f"{url}/your_data?step=review&run={name}&desk_view=wall")
        tab.get_by_role("button", name="Doubt", exact=True).click()
        tab.locator(".tile .image[style*=url]").first.wait_for()
        tab.wait_for_timeout(15_000)  # until all sprite sheets are there
        scrolled = tab.evaluate(SCROLL)
        tab.get_by_role("button", name="Pairs", exact=True).click()
        tab.wait_for_timeout(1000)
        decided = _decided(tab)
        start = time.perf_counter()
        for _ in range(GROUPS):
            tab.keyboard.press("a")
            tab.keyboard.press("k")
        shown = time.perf_counter() - start
        tab.locator(".saved", has_text="✓ Saved").wait_for()
        stored = time.perf_counter() - start
        n = _decided(tab) - decided
        chromium.close()
    return {
        "frames_ms": {
            "median": median(scrolled["frames"]),
            "p95": quantiles(scrolled["frames"], n=20)[-1],
            "rows": int(scrolled["rows"]),
        },
        "keys": {
            "groups": GROUPS,
            "decisions": n,
            "a_minute": round(60 * n / shown),
            "a_minute_until_stored": round(60 * n / stored),
            "groups_a_minute": round(60 * GROUPS / shown),
        },
    }


def _decided(tab) -> int:
    return int(tab.locator(".numbers").inner_text().split()[0].replace(",", ""))


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="folder for the run, kept")
    parser.add_argument("--case", default="photos10000-aggre", choices=CASES, metavar="CASE")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--folds", type=int, default=0)
    parts = ["reviewer", "browser"]
    parser.add_argument("--parts", nargs="*", default=parts, choices=parts)
    arguments = parser.parse_args()
    measured_on = hardware_info(choose_device(arguments.device))
    arguments.runs.mkdir(parents=True, exist_ok=True)
    run, true = trained(arguments.runs, arguments)
    results = {}
    if "reviewer" in arguments.parts:
        results["reviewer"] = reviewer(run, true, arguments.folds)
    if "browser" in arguments.parts:
        results["browser"] = browser(run)
    settings = {"case": arguments.case, "epochs": len(run.epochs), "folds": arguments.folds}
    finish("review", measured_on, settings, results, arguments.out)


if __name__ == "__main__":
    main()
