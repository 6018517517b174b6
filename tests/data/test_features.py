"""Rows of numbers as data: every form of file, what is refused, and a run on them."""

from itertools import islice

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from engine.analysis.label_issues import label_issues
from engine.config import configure
from engine.data import from_arrays, load
from engine.errors import ConfigError, DataError
from engine.runs.folder import RunFolder
from engine.runs.forks import data_of
from engine.runs.predictor import load_predictor
from engine.runs.runner import Runner
from engine.training.train import train


def rows(n: int = 90, d: int = 6, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three classes far apart in space."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    return (rng.normal(size=(n, d)) + 6 * np.eye(3, d)[labels]).astype(np.float32), labels


def test_an_npy_file_has_its_labels_beside_it(tmp_path):
    values, labels = rows()
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(DataError, match="a_labels.npy"):
        load(f"features:{tmp_path / 'a.npy'}")
    np.save(tmp_path / "a_labels.npy", labels)
    data = load(f"features:{tmp_path / 'a.npy'}")
    assert data.is_rows
    assert data.shape == (6, 1, 1)
    assert np.array_equal(data.images.flatten(1).numpy(), values)
    assert data.labels.tolist() == labels.tolist()
    assert data.pictures([0, 5]).shape == (2, 64, 64, 3)


def test_a_table_beside_an_npy_file_names_parts_ids_and_truth(tmp_path):
    values, labels = rows(12)
    np.save(tmp_path / "a.npy", values.astype(np.float16))
    names = np.array(["cat", "dog", "owl"])[labels]
    table = {"id": [f"s{i}" for i in range(12)], "label": names, "true_label": names}
    table["split"] = ["train"] * 9 + ["test"] * 3
    pd.DataFrame(table).to_csv(tmp_path / "a.csv", index=False)
    data = load(f"features:{tmp_path / 'a.npy'}")
    assert data.classes == ("cat", "dog", "owl")
    assert (data.n, len(data.test_labels)) == (9, 3)
    assert data.ids is not None
    assert data.ids[8] == "s8"
    assert data.images.dtype == torch.float32
    assert torch.equal(data.true_labels, data.labels)
    with open(tmp_path / "a.csv", "a") as file:
        file.write("s12,cat,cat,train\n")
    with pytest.raises(DataError, match="12 rows and a.csv 13"):
        load(f"features:{tmp_path / 'a.npy'}")


def test_an_npz_file_has_parts_and_names(tmp_path):
    values, labels = rows(30)
    kinds = np.array(["b", "a", "c"])[labels]
    np.savez(tmp_path / "a.npz", X=values[:20], y=kinds[:20], test_x=values[20:], test_y=kinds[20:])
    data = load(f"features:{tmp_path / 'a.npz'}")
    assert data.classes == ("a", "b", "c")
    assert [data.classes[c] for c in data.test_labels] == kinds[20:].tolist()


def test_a_table_becomes_scaled_columns_and_cards(tmp_path):
    table = pd.DataFrame(
        {
            "year": [1990, 2000, 2010, 2020],
            "note": ["x", "y", "x", "y"],
            "size": [1.0, 2.0, None, 9.0],
            "label": ["NA", "b", "NA", "b"],
        }
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_parquet(tmp_path / "t.parquet")
    for suffix in ("csv", "parquet"):
        data = load(f"features:{tmp_path / 't.'}{suffix}")
        values = data.images.flatten(1).numpy()
        assert values.shape == (4, 4)  # year, note x and y, size
        assert np.allclose(values.mean(0), 0, atol=1e-6)
        assert np.allclose(values.std(0), 1)
        assert values[2, 3] == pytest.approx((2 - 3.5) / np.std([1, 2, 2, 9]))
        assert data.classes == ("NA", "b")
        assert any("1 empty cell" in note for note in data.notes)
        first, second = data.pictures([0, 1])
        assert first.shape == (128, 128, 3)
        assert (first != second).any()


def test_a_column_of_lists_is_an_embedding_and_paths_are_pictures(tmp_path):
    values, labels = rows(6)
    Image.new("RGB", (40, 20), (250, 0, 0)).save(tmp_path / "red.png")
    paths = ["red.png", *[f"missing{i}.png" for i in range(5)]]
    table = pd.DataFrame({"embedding": list(values), "label": labels, "path": paths})
    table.to_parquet(tmp_path / "e.parquet")
    data = load(f"features:{tmp_path / 'e.parquet'}")
    assert np.array_equal(data.images.flatten(1).numpy(), values)
    assert data.pictures([0])[0, 64, 64].tolist() == [250, 0, 0]
    assert data.subset(np.array([0, 3])).pictures([0])[0, 64, 64].tolist() == [250, 0, 0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(features=np.full((4, 2), np.nan)), "row 0 has a number that is not finite"),
        (dict(features=np.zeros((4, 2, 2))), r"shape \(4, 2, 2\); allowed are numbers \(N, D\)"),
        (dict(features=np.array([["a"]] * 4)), "allowed are numbers"),
        (dict(features=np.array([[None]] * 4)), "Python objects"),
        (dict(labels=np.arange(3)), "4 rows and .* 3"),
        (dict(labels=np.array([0, 1, 0.5, 1])), "label 0.5 in row 2"),
        (dict(test_features=np.zeros((1, 3)), test_labels=[0]), "train 2, test 3"),
        (dict(test_features=np.zeros((1, 2))), "no test_labels"),
        (dict(ids=np.array(["a"])), r"ids has shape \(1,\)"),
    ],
)
def test_errors_name_the_value(tmp_path, change, words):
    arrays = dict(features=np.eye(4)[:, :2], labels=np.array([0, 1, 0, 1]))
    np.savez(tmp_path / "a.npz", **(arrays | change))
    with pytest.raises(DataError, match=words):
        load(f"features:{tmp_path / 'a.npz'}")


def test_a_table_as_spreadsheets_and_pandas_write_it(tmp_path):
    table = pd.DataFrame({"size": [1.5, 2.5, 3.25, 4.0], "label": ["a", "b", "a", "b"]})
    table.to_csv(tmp_path / "t.csv", sep=";", decimal=",", encoding="utf-8-sig")
    data = load(f"features:{tmp_path / 't.csv'}")
    sizes = table["size"].to_numpy()
    assert data.images.flatten().numpy() == pytest.approx((sizes - sizes.mean()) / sizes.std())
    assert "the column '' counts the rows and was not used" in " ".join(data.notes)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("size,species\n1,a\n2,b\n", "columns size, species; the one of labels needs one of"),
        ("size,size,label\n1,2,a\n3,4,b\n", "has 'size' twice among its columns"),
        (
            "size,label\n" + "".join(f"1,0.{i}1\n" for i in range(12)),
            "each of 12 rows has a label of its own",
        ),
    ],
)
def test_a_table_whose_labels_are_no_classes_says_why(tmp_path, content, words):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(DataError, match=words):
        load(f"features:{tmp_path / 't.csv'}")


def test_a_table_of_free_text_is_refused_by_the_name_of_its_column(tmp_path):
    table = pd.DataFrame({"comment": [f"text {i}" for i in range(60)], "label": [0, 1] * 30})
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match="comment has 60 different texts"):
        load(f"features:{tmp_path / 't.csv'}")


def test_no_image_setting_passes_without_a_word():
    data = from_arrays(*rows())
    for setting in (dict(augment="shift"), dict(cutout=2), dict(network="small")):
        config = configure(dataset="features:x", **setting)
        with pytest.raises(ConfigError, match="features, which are no images"):
            next(train(config, data))


def test_a_constant_column_and_one_far_from_zero_do_no_harm():
    values, labels = rows()
    values[:, 4], values[:, 5] = 7, values[:, 5] + 5000
    data = from_arrays(values, labels)
    mean, std = (255 * v.numpy() for v in data.channel_stats())
    assert np.allclose(mean, values.mean(0, dtype=np.float64), rtol=1e-6)
    assert std[4] == pytest.approx(1)
    assert std[5] == pytest.approx(values[:, 5].std(dtype=np.float64), rel=1e-4)


@pytest.mark.parametrize("network", ["linear", "mlp"])
def test_a_run_finds_wrong_labels_and_its_folder_opens(tmp_path, network):
    values, true = rows(120)
    labels = true.copy()
    labels[:18] = (labels[:18] + 1) % 3
    data = from_arrays(values, labels, true_labels=true, test=rows(30, seed=1))
    settings = dict(noise="none", network=network, epochs=10, batch_size=16, device="cpu")
    config = configure(dataset="features:x", **settings)
    runner = Runner.new(config, tmp_path / "run", data=data)
    runner.run()
    assert runner.status.state == "done", runner.status.error
    run = RunFolder(tmp_path / "run")
    assert run.epochs[-1]["metrics"]["test_accuracy"] > 0.85
    issues = label_issues(run)
    assert len(issues.flagged) > 10
    assert set(issues.flagged) <= set(range(18))
    again = data_of(run)
    assert again.is_rows
    assert again.pictures([3]).shape == (1, 64, 64, 3)
    probabilities, features = load_predictor(run, 9).predict_proba(again.take([0, 1]))
    assert probabilities.argmax(1).tolist() == true[:2].tolist()
    assert np.array_equal(features, values[:2])


def test_cosine_ignores_the_length_and_neighbors_are_searched_once(monkeypatch):
    from engine.training import batches

    values, labels = rows()
    lengths = np.random.default_rng(1).uniform(0.1, 10, (len(values), 1)).astype(np.float32)
    searches = []
    nearest = batches.nearest
    monkeypatch.setattr(batches, "nearest", lambda *a, **o: searches.append(1) or nearest(*a, **o))
    config = configure(
        dataset="features:x", neighbor_metric="cosine", noise="none", device="cpu", warmup=1
    )
    found = []
    for scale in (1, lengths):
        searches.clear()
        data = from_arrays(values * scale, labels)
        (*_, last) = islice(train(config, data), 5)
        assert len(searches) == 1
        found.append(last.neighbors)
    assert np.array_equal(*found)


def test_half_precision_gives_the_same_neighbors_as_full(monkeypatch):
    from engine.method import neighbors

    values = torch.from_numpy(rows(300, 40)[0]).half()
    exact, apart = neighbors.nearest(values.float(), 5)
    monkeypatch.setattr(neighbors, "MOST_ENTRIES", 300 * 20)
    monkeypatch.setattr(neighbors, "FEWEST_COLUMNS", 20)
    found, distances = neighbors.nearest(values, 5)
    assert (found == exact).float().mean() > 0.9
    assert (distances - apart).mean() < 0.02
    monkeypatch.setattr("engine.data.values.HALF_FROM", 300 * 40 - 1)
    data = from_arrays(values.float(), np.arange(300) % 3)
    assert data.images.dtype == torch.float16
