"""The command line from photos in wrong folders to repaired folders."""

import os
from pathlib import Path

import pytest

from tests.benchmarks.practitioner import journey

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_photos_come_back_with_fewer_in_wrong_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    settings = ["--epochs", "8", "--warmup", "3", "--correction-start", "6", "--threads", "1",
                "--network", "small", "--augment", "none", "--k", "5"]  # fmt: skip
    found = journey("digits", 600, tmp_path, settings, wrong=0.1)
    n_wrong = 600 - found["right_before"]
    assert 40 <= n_wrong <= 80
    assert 600 - found["right_after"] <= n_wrong / 2
    assert (tmp_path / "repaired/notes.txt").read_text() == "of the owner\n"
    assert "changes proposed" in found["folders"]
