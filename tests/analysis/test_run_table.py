"""The table of runs, sweeps among them, against the files themselves."""

import fcntl
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.analysis import run_changes, run_table, sweeps
from engine.files import write_json
from tests.records import read_records, write_records


def forge(
    template: Path, folder: Path, *, accuracy: float = 0.5, arrays: bool = False, **settings
) -> Path:
    """A copy of a run with other settings and another last test accuracy."""
    left_out = ("states",) if arrays else ("states", "arrays")
    shutil.copytree(template, folder, ignore=shutil.ignore_patterns(*left_out))
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
    assert list(sweeps.sweep_folders(root)) == ["grid/fine"]
    assert [row["name"] for row in run_table.rows(root)] == ["finished"]
    forge(template, root / "other", k=9)
    assert set(sweeps.sweep_folders(root)) == {"grid/fine", "all runs"}


def test_cells_are_means_over_seeds(root, template):
    accuracies = {0: 0.5, 1: 0.6, 2: 0.9}
    for seed, accuracy in accuracies.items():
        forge(template, root / "s" / f"a{seed}", accuracy=accuracy, k=2, alpha=0.5, seed=seed)
    forge(template, root / "s" / "b", accuracy=0.1, k=4, alpha=0.5)
    forge(template, root / "s" / "half", accuracy=0.2, k=4, alpha=0.5)
    write_json(root / "s" / "half" / "status.json", {"state": "failed", "message": "", "time": 0})
    forge(template, root / "s" / "ce", accuracy=0.3, mixing="none", correction="none")
    setups = sweeps.sweeps_by_setup(run_table.rows(root / "s"))
    assert list(setups) == ["digits, mixnn, symmetric noise"]
    cells = sweeps.sweep_cells(setups["digits, mixnn, symmetric noise"], "test_last")
    values = list(accuracies.values())
    first, second = cells.to_dict("records")
    assert (first["k"], first["alpha"], first["rate"], first["n"]) == (2, 0.5, 0.4, 3)
    assert first["mean"] == pytest.approx(np.mean(values))
    assert first["std"] == pytest.approx(np.std(values, ddof=1))
    assert (second["k"], second["n"], second["mean"]) == (4, 1, pytest.approx(0.1))
    assert np.isnan(second["std"])
    caption = sweeps.sweep_caption(cells, "Test accuracy", 1, 2)
    assert "4 finished runs in 2 cells" in caption
    assert "1 of the cells have a single seed" in caption
    assert "1 run of the folder not finished" in caption
    assert "2 runs forked or changed while training, left out" in caption


def test_setups_that_differ_in_another_setting_are_apart(root, template):
    for warmup in (1, 2):
        for k in (1, 2):
            forge(template, root / f"w{warmup}k{k}", k=k, warmup=warmup)
    assert set(sweeps.sweeps_by_setup(run_table.rows(root))) == {
        "digits, mixnn, symmetric noise, warmup 1",
        "digits, mixnn, symmetric noise, warmup 2",
    }


def test_settings_that_differ():
    settings = [{"k": 1, "rate": 0.2, "threads": 1}, {"k": 5, "rate": 0.2, "threads": 2}]
    assert run_changes.differing_settings(settings) == {"k": [1, 5]}
    assert run_changes.differing_settings(settings, ignore=["k"]) == {}
    assert run_changes.differing_settings([]) == {}
    assert run_changes.differing_settings([*settings, {"rate": 0.4}]) == {
        "k": [1, 5, None],
        "rate": [0.2, 0.2, 0.4],
    }
    assert run_changes.differing_settings([settings[0], {"rate": 0.2}]) == {}, "one run has K"


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


@pytest.fixture
def mixed(root, template) -> Path:
    """K 5, K 20, a fork with K 20 and a run whose alpha went to 0, all of seed 0."""
    forge(template, root / "k5", k=5, seed=0, accuracy=0.978)
    forge(template, root / "k20", k=20, seed=0, accuracy=0.933)
    forge(template, root / "fork", k=20, seed=0, accuracy=0.961)
    info = json.loads((root / "fork" / "config.json").read_text())
    write_json(
        root / "fork" / "config.json",
        info | {"parent": {"run": "../k5", "epoch": 2}, "first_epoch": 3},
    )
    write_records(root / "fork", read_records(root / "fork")[3:])
    forge(template, root / "steered", k=5, seed=0, accuracy=0.5)
    records = read_records(root / "steered")
    for record in records[4:]:
        record["settings"]["alpha"] = 0.0
    write_records(root / "steered", records)
    return root


def test_forks_and_steered_runs_are_pooled_with_no_other_run(mixed):
    """Two runs of seed 0 gave "94.7 % +- 2.0, mean of 2 runs" for K 20, one of them a fork."""
    rows = {row["name"]: row for row in run_table.rows(mixed)}
    assert {name for name, row in rows.items() if row["pure"]} == {"k5", "k20"}
    assert rows["steered"]["changed"] == "alpha 0.8 → 0 at epoch 4"
    assert rows["fork"]["fork"].settings == {"k": (5, 20)}
    ((_, group),) = sweeps.sweeps_by_setup(rows.values()).items()
    cells = sweeps.sweep_cells(group, "test_last").set_index("k")
    assert cells.loc[20, "mean"] == pytest.approx(0.933)
    assert (cells.loc[20, "n"], cells["n"].sum()) == (1, 2)
    assert np.isnan(cells.loc[20, "std"])
    assert 0.0 not in set(cells["alpha"])


def test_included_runs_of_one_seed_count_once(mixed):
    ((_, group),) = sweeps.sweeps_by_setup(run_table.rows(mixed), mixed=True).items()
    cells = sweeps.sweep_cells(group, "test_last").set_index(["k", "alpha"])
    assert cells.loc[(20, 0.8), "n"] == 1
    assert cells.loc[(20, 0.8), "n_runs"] == 2
    assert cells.loc[(20, 0.8), "mean"] == pytest.approx((0.933 + 0.961) / 2)
    assert cells.loc[(5, 0.0), "n"] == 1, "the alpha of the last epoch"
    assert "1 run repeat" in sweeps.sweep_caption(cells, "Test accuracy", 0, 0).replace(
        "s repeat", " repeat"
    )


def test_a_setting_set_before_the_first_epoch_is_the_runs_own(root, template):
    forge(template, root / "early", k=5)
    records = read_records(root / "early")
    for record in records:
        record["settings"]["k"] = 7
    write_records(root / "early", records)
    (row,) = run_table.rows(root)
    assert row["pure"]
    assert (row["k"], row["settings"]["k"], row["beside"]["k"]) == (7, 7, 7)


def test_a_setting_without_effect_has_no_value(root, template):
    for k in (1, 9):
        forge(template, root / f"ce{k}", k=k, mixing="none", correction="none")
    first, second = run_table.rows(root)
    assert (first["k"], first["alpha"]) == (None, None)
    assert first["family"] == second["family"]
    assert sweeps.sweep_folders(root) == {}


def test_families_differ_in_the_seed_alone(root, template):
    forge(template, root / "a", seed=1)
    forge(template, root / "b", seed=2)
    forge(template, root / "c", seed=2, k=9)
    forge(template, root / "d", seed=2, noise_seed=1)  # the same labels again: another experiment
    family = {row["name"]: row["family"] for row in run_table.rows(root)}
    assert family["a"] == family["b"]
    assert len(set(family.values())) == 3
