"""Label issues of probabilities of one's own, alone and with a run's evidence."""

import csv

import numpy as np
import pandas as pd
import pytest

from engine.analysis.label_issues import label_issues, probability_issues
from engine.analysis.own_probabilities import read_probabilities
from engine.cli.parser import main
from engine.data import from_arrays, load
from engine.errors import DataError
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner
from tests.conftest import blobs, quick


def probabilities(true: np.ndarray, n_classes: int, *, seed: int = 0) -> np.ndarray:
    """Of a good model that has never seen the labels."""
    rng = np.random.default_rng(seed)
    logits = 6 * np.eye(n_classes)[true] + rng.normal(size=(len(true), n_classes))
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


@pytest.fixture(scope="module")
def noisy():
    """Given labels of 300 samples of three classes, 30 of them wrong, and the true ones."""
    true = np.arange(300) % 3
    given = true.copy()
    given[:30] = (given[:30] + np.random.default_rng(0).integers(1, 3, 30)) % 3
    return given, true


def test_from_probabilities_alone(noisy):
    given, true = noisy
    issues = probability_issues(given, probabilities(true, 3).astype(np.float32))
    low, high = issues.noise.interval
    assert low <= 30 <= high
    assert (issues.flagged < 30).mean() > 0.9
    changed = np.flatnonzero(issues.proposed != given)
    assert len(changed) > 2
    assert (issues.proposed[changed] == true[changed]).mean() > 0.95
    assert issues.reason(int(issues.flagged[0]), "abc").startswith("The model sees")
    right = probability_issues(true, probabilities(true, 3).astype(np.float32))
    assert (right.proposed == true).all()
    assert len(right.flagged) < 10


def test_the_command_ranks_and_writes_a_table(noisy, tmp_path, capsys):
    given, true = noisy
    np.save(tmp_path / "p.npy", probabilities(true, 3))
    np.save(tmp_path / "y.npy", given)
    command = ["issues", "--probabilities", str(tmp_path / "p.npy")]
    assert main([*command, "--labels", str(tmp_path / "y.npy"), "--out", f"{tmp_path}/i.csv"]) == 0
    assert "of 300 labels are wrong" in capsys.readouterr().out
    with open(tmp_path / "i.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["given_label"] for row in rows] == [str(label) for label in given]
    flagged = {int(row["sample"]) for row in rows if row["is_label_issue"] == "True"}
    lowest = sorted(range(300), key=lambda i: float(rows[i]["label_quality"]))[:20]
    assert len(flagged & set(range(30))) > 10
    assert len(set(lowest) & set(range(30))) > 17
    assert main(command) == 2
    assert "one of --dataset and --labels" in capsys.readouterr().err
    assert main(["issues"]) == 2


def test_probabilities_beside_a_run_count_as_much_as_its_network(tmp_path, capsys):
    data = blobs(120)
    given = data.labels.numpy().copy()
    given[:12] = (given[:12] + 1) % 3
    own = from_arrays(data.images, given)
    runner = Runner.new(quick(noise="none", epochs=3), tmp_path / "run", data=own)
    runner.run()
    run = RunFolder(tmp_path / "run")
    alone, sure = label_issues(run), probabilities(data.labels.numpy(), 3).astype(np.float32)
    both = label_issues(run, probabilities=sure)
    assert len(both.flagged) > 5
    assert set(both.flagged) <= set(range(12))
    assert both.pred_probs[0, data.labels[0]] > alone.pred_probs[0, data.labels[0]]
    assert np.allclose(both.pred_probs.sum(1), 1, atol=1e-5)
    against = label_issues(run, probabilities=np.eye(3, dtype=np.float32)[given])
    assert not set(against.flagged) & set(range(12))
    np.savez(tmp_path / "p.npz", pred_probs=sure)
    assert main(["issues", str(tmp_path / "run"), "--probabilities", f"{tmp_path}/p.npz"]) == 0
    assert "labels are wrong" in capsys.readouterr().out


def test_a_table_has_a_column_for_each_class(tmp_path):
    values = probabilities(np.array([0, 1, 1]), 2)
    pd.DataFrame(values, columns=["cat", "dog"]).assign(id="x").to_csv(tmp_path / "p.csv")
    found = read_probabilities(tmp_path / "p.csv", ["dog", "cat"], 3)
    assert np.allclose(found, values[:, ::-1])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full((3, 3), 1 / 3), r"shape \(3, 3\); allowed are probabilities \(N, C\) = \(3, 2\)"),
        (np.array([[0.5, 0.5], [2.0, -1.0], [1, 0]]), "row 1 has -1 to 2"),
        (np.array([[0.5, 0.5], [0.5, 0.1], [1, 0]]), "row 1 .* sum 0.6"),
        (np.full((3, 2), np.nan), "row 0 has nan"),
    ],
)
def test_what_is_no_probability_is_refused(tmp_path, values, words):
    np.save(tmp_path / "p.npy", values)
    with pytest.raises(DataError, match=words):
        read_probabilities(tmp_path / "p.npy", ["a", "b"], 3)


def test_a_data_set_has_the_labels(tmp_path, capsys):
    data = load("digits")
    np.save(tmp_path / "p.npy", probabilities(data.labels.numpy(), 10))
    command = ["issues", "--dataset", "digits", "--probabilities", f"{tmp_path}/p.npy"]
    assert main(command) == 0
    assert "No label change is proposed" in capsys.readouterr().err
