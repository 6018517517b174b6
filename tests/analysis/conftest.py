"""A folder of runs: finished, failed and broken ones, copied from one small run on digits."""

import json
import shutil
from pathlib import Path

import pytest

from engine.config import configure
from engine.runs.runner import Runner
from tests.records import read_records, write_records


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """A finished run of six epochs, to be copied."""
    config = configure(
        dataset="digits", limit=200, epochs=6, warmup=2, correction_start=3, k=3, seed=1, threads=1
    )
    folder = tmp_path_factory.mktemp("template") / "finished"
    runner = Runner.new(config, folder)
    runner.run()
    assert runner.status.state == "done", runner.status.error
    return folder


@pytest.fixture
def root(tmp_path) -> Path:
    """An empty folder for runs."""
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture
def finished(root, template) -> str:
    """A finished run."""
    shutil.copytree(template, root / "finished")
    return "finished"


@pytest.fixture
def failed(root, template) -> str:
    """A run that failed after three epochs."""
    shutil.copytree(template, root / "failed")
    write_records(root / "failed", read_records(root / "failed")[:3])
    status = {"state": "failed", "message": "the disk is full (3 MB free)", "time": 0.0}
    (root / "failed" / "status.json").write_text(json.dumps(status))
    return "failed"


@pytest.fixture
def broken(root, template) -> str:
    """A run whose settings cannot be read."""
    shutil.copytree(template, root / "broken")
    (root / "broken" / "config.json").write_text("{")
    return "broken"
