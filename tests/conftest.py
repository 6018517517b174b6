"""What several tests need: the golden numbers, tiny data and settings, runs in some states."""

import json
import os
import shutil
import sys
from pathlib import Path

# tiny arrays: two threads would spend their time waiting for each other. Read at the import of
# NumPy, scikit-learn and torch
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
import torch

from engine.config import RunConfig, configure
from engine.data import Data
from engine.data.base import assemble
from engine.runs.runner import Runner
from tests.records import keep_epochs

slow = pytest.mark.slow  # not run by default, see pyproject.toml
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def default_root(tmp_path_factory):
    """Tests write nothing to the runs/ of the checkout; one that needs runs takes `root`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIXNN_RUNS", str(tmp_path_factory.mktemp("default") / "runs"))
        yield


@pytest.fixture(autouse=True)
def main_module():
    """Streamlit's AppTest leaves its script as __main__, which new processes would run again."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture(scope="session")
def golden():
    """The numbers recorded from the reference code; skipped where they are missing."""
    path = SHARED / "golden" / "golden.npz"
    if not path.exists():
        pytest.skip("no ../shared/golden beside the project")
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def blobs(n: int = 96, n_classes: int = 3, *, seed: int = 0, n_test: int = 30) -> Data:
    """Gray 8 x 8 images, each class a bright patch in a place of its own: learned in seconds."""
    rng = np.random.default_rng(seed)

    def draw(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = np.arange(count) % n_classes
        images = rng.integers(0, 90, (count, 1, 8, 8))
        for c in range(n_classes):
            row, column = divmod(c, 2)
            images[labels == c, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 120
        return torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(labels)

    train = draw(n)
    names = [f"class {c}" for c in range(n_classes)]
    return assemble("blobs", train, draw(n_test), names, true_labels=train[1])


def quick(**settings) -> RunConfig:
    """Settings with which a run on `blobs` takes a fraction of a second."""
    small = dict(
        preset="plain",
        network="small",
        augment="shift",
        padding=1,
        epochs=5,
        warmup=1,
        correction_start=2,
        batch_size=32,
        learning_rate=0.05,
        device="cpu",
    )
    return configure(**small | settings)


@pytest.fixture
def data() -> Data:
    return blobs()


DIGITS = dict(
    dataset="digits",
    limit=200,
    epochs=6,
    warmup=1,
    correction_start=2,
    k=3,
    state_interval=1,
    seed=1,
)


def quick_digits(**settings) -> RunConfig:
    """Settings of a run on real digits that takes about a second."""
    return configure(**DIGITS | settings)


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """A small finished run on digits, to be copied."""
    folder = tmp_path_factory.mktemp("template") / "finished"
    runner = Runner.new(quick_digits(), folder)
    runner.run()
    assert runner.status.state == "done", runner.status.error
    return folder


@pytest.fixture
def root(tmp_path) -> Path:
    """An empty folder of runs."""
    path = tmp_path / "runs"
    path.mkdir()
    return path


@pytest.fixture
def finished(root, template) -> str:
    """A finished run."""
    shutil.copytree(template, root / "finished")
    return "finished"


@pytest.fixture
def failed(root, template) -> str:
    """A run that failed after some epochs."""
    shutil.copytree(template, root / "failed")
    keep_epochs(root / "failed", 3)
    status = {"state": "failed", "message": "the disk is full (3 MB free)", "time": 0.0}
    (root / "failed" / "status.json").write_text(json.dumps(status))
    return "failed"


@pytest.fixture
def broken(root, template) -> str:
    """A run folder whose settings cannot be read."""
    shutil.copytree(template, root / "broken")
    (root / "broken" / "config.json").write_text("{")
    return "broken"
