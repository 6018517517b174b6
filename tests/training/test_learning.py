"""What MixNN must reach on digits, and the whole way on real photographs."""

import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from engine.config import configure
from engine.data import load_data
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner
from engine.training.train import train
from tests.conftest import SHARED

# by rate; five seeds of every rate and method: assets/results/experiments/methods-digits.json
SEEDS = {0.2: (0,), 0.4: (0, 1, 2), 0.6: (0,)}
LIMITS = {0.6: 700}  # images, where fewer show the order of the methods
METHODS = ("ce", "mixup", "mixnn")
ROOT = Path(__file__).resolve().parents[2]


def last_epoch(method: str, rate: float, seed: int, **settings) -> dict:
    config = configure(dataset="digits", method=method, rate=rate, seed=seed, **settings)
    *_, last = train(config, load_data(config))
    return last.metrics


def test_a_short_training_on_few_digits():
    short = dict(limit=800, epochs=15, warmup=2, correction_start=7)
    ce, mixnn = (last_epoch(method, 0.4, 0, **short) for method in ("ce", "mixnn"))
    assert mixnn["test_accuracy"] > ce["test_accuracy"] + 0.08
    assert ce["memorized"] > 0.9
    assert mixnn["memorized"] < 0.15
    assert mixnn["label_accuracy"] > ce["label_accuracy"] + 0.25


@pytest.fixture(scope="module")
def digits():
    """Metrics of the last epoch, mean over seeds, by (method, rate)."""
    cases = [(m, r) for r in SEEDS for m in METHODS]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        futures = {
            (m, r): [pool.submit(last_epoch, m, r, seed, limit=LIMITS.get(r)) for seed in SEEDS[r]]
            for m, r in cases
        }
        return {
            case: {
                name: np.mean([f.result()[name] for f in found])
                for name in ("test_accuracy", "label_accuracy", "memorized", "fit_clean")
            }
            for case, found in futures.items()
        }


@pytest.mark.slow
def test_mixnn_learns_digits_through_forty_percent_noise(digits):
    mixnn, ce = digits["mixnn", 0.4], digits["ce", 0.4]
    assert mixnn["test_accuracy"] >= 0.95
    assert mixnn["test_accuracy"] >= ce["test_accuracy"] + 0.20
    assert mixnn["label_accuracy"] >= 0.97
    assert ce["label_accuracy"] == pytest.approx(0.64, abs=0.01)


@pytest.mark.slow
def test_cross_entropy_memorizes_and_mixnn_does_not(digits):
    assert digits["ce", 0.4]["memorized"] > 0.9
    assert digits["mixnn", 0.4]["memorized"] < 0.1
    assert digits["mixnn", 0.4]["fit_clean"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("rate", SEEDS)
def test_mixnn_above_mixup_above_cross_entropy(digits, rate):
    mixnn, mixup, ce = (digits[m, rate]["test_accuracy"] for m in ("mixnn", "mixup", "ce"))
    assert mixnn > mixup > ce


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["auto", "reference"])
def test_real_photographs_end_to_end(preset, tmp_path):
    """Class folders of CIFAR-10 photographs: loaded, trained on, written, exported."""
    archive = SHARED / "data" / "cifar10_jpg.tar.xz"
    if not archive.exists():
        pytest.skip("no ../shared/data next to the project")
    photos = tmp_path / "photos"
    photos.mkdir()
    # names within the archive end in 4 digits: the first 20 of each class, 10 to test
    patterns = ["*train/*/000[0-9].jpg", "*train/*/001[0-9].jpg", "*test/*/000[0-9].jpg"]
    subprocess.run(
        ["tar", "-xJf", str(archive), "-C", str(photos), "--wildcards", *patterns], check=True
    )
    config = configure(
        dataset=f"folder:{photos}",
        preset=preset,
        network="resnet9-w16",
        epochs=4,
        warmup=1,
        correction_start=2,
        correction_interval=2,
        batch_size=50,
    )
    runner = Runner.new(config, tmp_path / "run")
    runner.run()
    assert runner.status.state == "done", runner.status.error
    run = RunFolder(tmp_path / "run")
    assert run.info["data"]["n"] == 200
    assert run.info["data"]["shape"] == [3, 32, 32]
    assert run.labels["ids"][0].startswith("train/airplane/")
    assert np.isfinite(run.array("loss")).all()
    out = tmp_path / "out.csv"
    command = [sys.executable, "-m", "engine", "export", str(run.folder), "--out", str(out)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    assert len(out.read_text().splitlines()) == 201
