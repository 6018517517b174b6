"""The table of runs, sweeps among them, against the files themselves."""

import fcntl
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.analysis import run_table
from engine.files import write_json
from tests.records import read_records, write_records


def forge(template: Path, folder: Path, *, accuracy: float = 0.5, **settings) -> Path:
    """A copy of a run with other settings and another last test accuracy."""
    shutil.copytree(template, folder, ignore=shutil.ignore_patterns("states", "arrays"))
    info = json.loads((folder / "config.json").read_text())
    info["config"] |= settings
    info["rate_requested"] = info["config"]["rate"]
    write_json(folder / "config.json", info)
    records = read_records(folder)
    for record in records:
        record["settings"] |= {n: v for n, v in settings.items() if n in record["settings"]}
        record["metrics"]["test_accuracy"] = accuracy
    write_records(folder, records)
    return folder


def test_a_row_agrees_with_the_files(root, finished):
    (row,) = run_table.rows(root)
    records = read_records(root / finished)
    info = json.loads((root / finished / "config.json").read_text())
    metrics = [record["metrics"] for record in records]
    assert row["name"] == finished
    assert (row["state"], row["epochs"], row["planned"]) == ("done", 6, 6)
    assert (row["dataset"], row["method"], row["k"], row["seed"]) == ("digits", "mixnn", 3, 1)
    assert row["test_last"] == metrics[-1]["test_accuracy"]
    assert row["test_best"] == max(m["test_accuracy"] for m in metrics)
    assert row["labels_right"] == metrics[-1]["label_accuracy"]
    assert row["memorized"] == metrics[-1]["memorized"]
    assert row["auroc"] == metrics[-1]["clean_auroc"]
    labels = np.load(root / finished / "labels.npz")
    assert row["rate_actual"] == (labels["given"] != labels["true"]).mean()
    assert (row["rate"], row["created"]) == (0.4, info["created"])


def test_failed_broken_damaged_and_waiting_runs_have_a_row(root, failed, broken, template):
    shutil.copytree(template, root / "damaged")
    write_json(root / "damaged" / "config.json", {"format": 1, "config": {}})
    found = {row["name"]: row for row in run_table.rows(root, {"later": "queued"})}
    assert {name: row["state"] for name, row in found.items()} == {
        "failed": "failed",
        "broken": "broken",
        "damaged": "broken",
        "later": "queued",
    }
    assert found["failed"]["epochs"] == 3
    assert "config.json" in found["broken"]["message"]
    assert str(root) not in found["broken"]["message"]
    assert len(run_table.table(found.values())) == 4


def test_only_what_changed_is_read_again(root, template, monkeypatch):
    for number in range(5):
        shutil.copytree(template, root / f"run{number}")
    read = []
    real = run_table.summary
    monkeypatch.setattr(run_table, "summary", lambda run: read.append(run.folder.name) or real(run))
    run_table.rows(root)
    assert len(read) == 5
    read.clear()
    run_table.rows(root)
    assert read == []
    write_records(root / "run3", read_records(root / "run3")[:2])
    (row,) = [row for row in run_table.rows(root) if row["name"] == "run3"]
    assert read == ["run3"]
    assert row["epochs"] == 2


def test_a_run_whose_writer_dies_shows_as_interrupted(root, finished):
    write_json(root / finished / "status.json", {"state": "running", "message": "", "time": 0.0})
    with open(root / finished / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run_table.rows(root)[0]["state"] == "running"
    assert run_table.rows(root)[0]["state"] == "interrupted"
    assert run_table.rows(root, {finished: "paused"})[0]["state"] == "paused"


def test_a_sweep_folder_is_found_and_is_no_run(root, template, finished):
    for k in (1, 5):
        forge(template, root / "grid" / "fine" / f"k{k}", k=k)
    (root / "empty").mkdir()
    assert list(run_table.sweep_folders(root)) == ["grid/fine"]
    assert [row["name"] for row in run_table.rows(root)] == ["finished"]
    forge(template, root / "other", k=9)
    assert set(run_table.sweep_folders(root)) == {"grid/fine", "all runs"}


def test_cells_are_means_over_seeds(root, template):
    accuracies = {0: 0.5, 1: 0.6, 2: 0.9}
    for seed, accuracy in accuracies.items():
        forge(template, root / "s" / f"a{seed}", accuracy=accuracy, k=2, alpha=0.5, seed=seed)
    forge(template, root / "s" / "b", accuracy=0.1, k=4, alpha=0.5)
    forge(template, root / "s" / "half", accuracy=0.2, k=4, alpha=0.5)
    write_json(root / "s" / "half" / "status.json", {"state": "failed", "message": "", "time": 0})
    forge(template, root / "s" / "ce", accuracy=0.3, mixing="none", correction="none")
    setups = run_table.sweeps_by_setup(run_table.rows(root / "s"))
    assert list(setups) == ["digits, mixnn, symmetric noise"]
    cells = run_table.sweep_cells(setups["digits, mixnn, symmetric noise"], "test_last")
    values = list(accuracies.values())
    first, second = cells.to_dict("records")
    assert (first["k"], first["alpha"], first["rate"], first["n"]) == (2, 0.5, 0.4, 3)
    assert first["mean"] == pytest.approx(np.mean(values))
    assert first["std"] == pytest.approx(np.std(values, ddof=1))
    assert (second["k"], second["n"], second["mean"]) == (4, 1, pytest.approx(0.1))
    assert np.isnan(second["std"])
    caption = run_table.sweep_caption(cells, "Test accuracy", 1)
    assert "4 finished runs in 2 cells" in caption
    assert "1 runs of the folder have not finished" in caption


def test_setups_that_differ_in_another_setting_are_apart(root, template):
    for warmup in (1, 2):
        for k in (1, 2):
            forge(template, root / f"w{warmup}k{k}", k=k, warmup=warmup)
    assert set(run_table.sweeps_by_setup(run_table.rows(root))) == {
        "digits, mixnn, symmetric noise, warmup 1",
        "digits, mixnn, symmetric noise, warmup 2",
    }


def test_settings_that_differ():
    settings = [{"k": 1, "rate": 0.2, "threads": 1}, {"k": 5, "rate": 0.2, "threads": 2}]
    assert run_table.differing_settings(settings) == {"k": [1, 5]}
    assert run_table.differing_settings(settings, ignore=["k"]) == {}
    assert run_table.differing_settings([]) == {}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", 2),
        ("digits", 2),
        ("MixNN  failed", 1),
        ("cifar", 0),
        ("cifar digits", 0),
        ("0.4 done", 1),
        ("(", 0),
    ],
)
def test_the_filter_wants_every_word(root, finished, failed, words, found):
    frame = run_table.table(run_table.rows(root))
    assert run_table.rows_matching(frame, words).sum() == found
