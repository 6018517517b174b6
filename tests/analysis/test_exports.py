"""Every form of an export, opened again by its library or read as it is documented."""

import base64
import csv
import io
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from engine.analysis import review
from engine.analysis.exports import forms
from engine.analysis.exports.bundle import Bundle
from engine.analysis.label_issues import LabelIssues, label_issues
from engine.cli.parser import main
from engine.config import configure
from engine.data import load
from engine.data.images import open_image
from engine.errors import StoreError
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner

CLASSES = ("=1+1", "NA", "cat")
SHORT = dict(epochs=2, warmup=1, correction_start=1, batch_size=8, k=1, noise="none", rate=0.0)
# what the review decides: sample -> decision
DECISIONS = {0: review.Decision("change", 2), 5: review.Decision("remove", 0),
             2: review.Decision("keep", 0), 3: review.Decision("skip", 0)}  # fmt: skip
PROPOSED = {4: 1, 2: 2, 7: 0}  # sample -> class; decisions count more


def image(i: int, form: str = "PNG") -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(i).integers(0, 256, (9, 9, 3), np.uint8)
    Image.fromarray(pixels).save(out, form)
    return out.getvalue()


def opened(raw: bytes) -> np.ndarray:
    with open_image(io.BytesIO(raw)) as found:
        return np.asarray(found)


def photos() -> dict[str, bytes]:
    """Class folders as people have them: other formats, subfolders, files that are no images."""
    files = {f"train/{kind}/{i}.png": image(10 * c + i)
             for c, kind in enumerate(CLASSES) for i in range(6)}  # fmt: skip
    files |= {"train/cat/-1.webp": image(90, "WEBP"), "train/cat/2024/may/1.JPG": image(91, "JPEG")}
    files |= {f"test/{kind}/{i}.png": image(60 + 3 * c + i)
              for c, kind in enumerate(CLASSES) for i in range(2)}  # fmt: skip
    return files | {"readme.txt": b"hello", "train/cat/x.psd": b"psd", "train/NA/bad.png": b"no"}


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def read(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def trained(dataset: str, folder: Path) -> RunFolder:
    network = "linear" if dataset.startswith("features") else "small"
    runner = Runner.new(configure(dataset=dataset, network=network, **SHORT), folder)
    runner.run()
    assert runner.status.state == "done", runner.status.error
    return RunFolder(folder)


def bundle_of(run: RunFolder, decisions=DECISIONS) -> Bundle:
    """A run with known proposals and decisions."""
    found = label_issues(run)
    proposed, probability = found.given.copy(), np.full(len(found.given), 0.9)
    for sample, label in PROPOSED.items():
        proposed[sample] = label
    issues: LabelIssues = replace(
        found,
        proposed=proposed,
        suggested=proposed,
        probability=probability,
        flagged=np.flatnonzero(proposed != found.given),
        warning=None,
    )
    return Bundle(run, issues, review.final_labels(issues, decisions))


def labels_of(bundle: Bundle) -> dict[str, str | None]:
    """Id -> name of the final label; None if removed."""
    final = bundle.final
    return {
        name: None if final.removed[i] else bundle.classes[final.labels[i]]
        for i, name in enumerate(bundle.ids)
    }


def kept(bundle: Bundle) -> dict[str, str]:
    return {name: kind for name, kind in labels_of(bundle).items() if kind is not None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Bundle:
    root = tmp_path_factory.mktemp("photos")
    return bundle_of(trained(f"folder:{write(root / 'photos', photos())}", root / "run"))


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Bundle:
    """A run on an npz file whose labels are texts, with arrays of its owner."""
    root = tmp_path_factory.mktemp("arrays")
    rng = np.random.default_rng(0)
    np.savez(
        root / "mine.npz",
        train_images=rng.integers(0, 256, (18, 9, 9), np.uint8),
        train_labels=np.array(CLASSES)[np.arange(18) % 3][:, None],
        test_images=rng.integers(0, 256, (4, 9, 9), np.uint8),
        test_labels=np.array([["cat"], ["NA"], ["cat"], ["NA"]]),
        patients=np.arange(100, 118),
        scanner=np.array("A1"),
    )
    return bundle_of(trained(f"npz:{root / 'mine.npz'}", root / "run"))


def test_the_final_labels_follow_decisions_before_proposals(folder):
    given, final = folder.issues.given, folder.final
    assert final.how[:8] == ["change", "", "keep", "skip", "auto", "remove", "", "auto"]
    assert final.labels[:8].tolist() == [2, 0, 0, 0, 1, 0, 1, 0]
    assert np.flatnonzero(final.removed).tolist() == [5]
    assert final.counts(given) == (1, 2, 1)
    assert (review.final_labels(folder.issues, {}, None).labels == given).all()
    assert (review.final_labels(folder.issues, {}, 0.95).labels == given).all()


# One test for each form


def test_csv_is_harmless_and_keeps_a_class_called_na(folder, tmp_path):
    forms.write(folder, "csv", tmp_path / "labels.csv")
    text = (tmp_path / "labels.csv").read_text()
    assert not any(cell.startswith(("=", "-", "+", "@")) for row in csv.reader(io.StringIO(text))
                   for cell in row)  # fmt: skip
    table = pd.read_csv(tmp_path / "labels.csv", keep_default_na=False, na_values=[""])
    assert table["sample"].tolist() == folder.ids
    final = [labels_of(folder)[name] for name in folder.ids]
    expected = [None if kind is None else kind.replace("=", "'=") for kind in final]
    assert [None if pd.isna(kind) else kind for kind in table["corrected_label"]] == expected
    assert "NA" in table["given_label"].tolist()
    assert table["decision"].tolist()[:6] == ["change", "keep", "keep", "skip", "change", "remove"]
    assert table["reviewed"].tolist()[:5] == [True, False, True, True, False]


@pytest.mark.parametrize("form", ["folders", "zip"])
def test_folders_hold_every_file_as_it_came(folder, tmp_path, form):
    out = tmp_path / ("repaired" if form == "folders" else "repaired.zip")
    forms.write(folder, form, out)
    if form == "zip":
        zipfile.ZipFile(out).extractall(tmp_path / "repaired")
    moved = {"train/=1+1/0.png": "train/cat/0-from-=1+1.png", "train/=1+1/5.png": None,
             "train/=1+1/4.png": "train/NA/4-from-=1+1.png",
             "train/NA/1.png": "train/=1+1/1-from-NA.png"}  # fmt: skip
    expected = {moved.get(name, name): raw for name, raw in photos().items()}
    assert read(tmp_path / "repaired") == {k: v for k, v in expected.items() if k is not None}
    torchvision = pytest.importorskip("torchvision.datasets")
    found = torchvision.ImageFolder(tmp_path / "repaired/test")
    assert found.classes == list(CLASSES)


def test_npz_of_texts_changes_only_labels_and_removed_rows(texts, tmp_path):
    forms.write(texts, "npz", tmp_path / "new.npz")
    path = texts.run.config.dataset.partition(":")[2]
    keep = ~texts.final.removed
    with np.load(path) as before, np.load(tmp_path / "new.npz") as after:
        assert list(after) == list(before)
        for key in before:
            own = before[key][keep] if key in ("train_images", "patients") else before[key]
            if key != "train_labels":
                assert (after[key] == own).all(), key
                assert (after[key].dtype, after[key].shape) == (own.dtype, own.shape)
        assert after["train_labels"][:, 0].tolist() == list(kept(texts).values())
    assert load(f"npz:{tmp_path / 'new.npz'}").classes == CLASSES


def test_npz_of_photos_has_their_ids(folder, tmp_path):
    forms.write(folder, "npz", tmp_path / "new.npz")
    with np.load(tmp_path / "new.npz") as arrays:
        assert arrays["train_ids"].tolist() == list(kept(folder))
    found = load(f"npz:{tmp_path / 'new.npz'}")
    assert [found.classes[label] for label in found.labels] == list(kept(folder).values())
    assert len(found.test_labels) == 6


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_manifest_is_read_again_in_the_same_order(folder, tmp_path, suffix):
    out = tmp_path / f"labels{suffix}"
    forms.write(folder, "manifest", out)
    again = load(f"manifest:{out}")
    assert again.ids == tuple(kept(folder))
    assert [again.classes[label] for label in again.labels] == list(kept(folder).values())
    assert len(again.test_labels) == 6
    rows = [row for row, name in enumerate(folder.ids) if name in kept(folder)]
    assert again.images.equal(folder.data.images[rows])
    if suffix == ".csv":
        assert "'=1+1" in out.read_text()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_owners_table_comes_back_as_it_came(tmp_path, suffix):
    rows = [{"file_name": f"{i}.png", "label": CLASSES[i % 3], "note": f"é{i}, "}
            for i in range(12)]  # fmt: skip
    write(tmp_path, {f"{i}.png": image(i) for i in range(11)})  # one file is missing
    table = tmp_path / f"labels{suffix}"
    if suffix == ".jsonl":
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif suffix == ".csv":
        pd.DataFrame(rows).to_csv(table, index=False)
    else:
        pd.DataFrame(rows).to_parquet(table)
    bundle = bundle_of(trained(f"manifest:{table}", tmp_path / "run"))
    forms.write(bundle, "manifest", tmp_path / f"new{suffix}")
    new = [CLASSES[label] for label in bundle.final.labels]
    expected = [row | {"label": new[i] if i < 11 else row["label"]} for i, row in enumerate(rows)]
    del expected[5]  # removed
    readers = {
        ".csv": lambda path: list(csv.DictReader(path.read_text().splitlines())),
        ".jsonl": lambda path: [json.loads(line) for line in path.read_text().splitlines()],
        ".parquet": lambda path: pd.read_parquet(path).to_dict("records"),
    }
    assert readers[suffix](tmp_path / f"new{suffix}") == expected
    if suffix != ".parquet":
        before, after = table.read_text().splitlines(), (tmp_path / f"new{suffix}").read_text()
        assert before[-1] in after.splitlines()


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz", ".npy"])
def test_the_owner_of_features_gets_the_same_file_with_other_labels(tmp_path, suffix):
    rng = np.random.default_rng(0)
    names = [CLASSES[i % 3] for i in range(18)]
    rows = rng.normal(size=(18, 3)) + 3 * np.eye(3)[np.arange(18) % 3]
    table = pd.DataFrame(rows, columns=list("abc")).assign(note="é, x", target=names)
    path, form, removed = tmp_path / f"mine{suffix}", "manifest", suffix != ".npy"
    if suffix == ".npz":
        form = "npz"
        np.savez(path, X=rows, y=np.array(names), rooms=np.arange(18), about=np.array("é"))
    elif suffix == ".npy":
        np.save(path, rows)
        table.to_csv(tmp_path / "mine.csv", index=False)
    elif suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path)
    decisions = {i: d for i, d in DECISIONS.items() if removed or d.kind != "remove"}
    bundle = bundle_of(trained(f"features:{path}", tmp_path / "run"), decisions)
    out = tmp_path / f"new{'.csv' if suffix == '.npy' else suffix}"
    forms.write(bundle, form, out)
    expected = list(labels_of(bundle).values())
    keep = [row for row in range(18) if expected[row] is not None]
    if suffix == ".npz":
        with np.load(out) as new:
            assert new.files == ["X", "y", "rooms", "about"]
            assert (new["X"] == rows[keep]).all()
            assert new["y"].tolist() == [expected[row] for row in keep]
            assert new["rooms"].tolist() == keep
        return
    new = pd.read_parquet(out) if suffix == ".parquet" else pd.read_csv(
        out, keep_default_na=False, na_values=[""]
    )  # fmt: skip
    new["target"] = new["target"].str.removeprefix("'")  # before a formula
    wanted = table.assign(target=expected).iloc[keep].reset_index(drop=True)
    pd.testing.assert_frame_equal(new, wanted, check_dtype=False)
    assert len(keep) == 18 - removed


def test_cleanlab_goes_on_from_it(folder, tmp_path):
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    forms.write(folder, "cleanlab", tmp_path / "cleanlab.npz")
    with np.load(tmp_path / "cleanlab.npz") as found:
        labels, probabilities = found["labels"], found["pred_probs"]
        assert found["ids"].tolist() == folder.ids
        assert found["class_names"][found["corrected_labels"]].tolist()[:2] == ["cat", "=1+1"]
        assert np.flatnonzero(found["removed"]).tolist() == [5]
    assert find_label_issues(labels, probabilities).shape == labels.shape
    scores = get_label_quality_scores(labels, probabilities)
    assert np.allclose(scores, probabilities[np.arange(len(labels)), labels])


def test_label_studio_tasks_are_read_again(folder, tmp_path):
    out = Path(folder.run.config.dataset.partition(":")[2]).parent / "tasks.json"
    forms.write(folder, "labelstudio", out)
    tasks = json.loads(out.read_text())
    first, removed = tasks[0], tasks[5]
    assert first["data"]["image"] == "/data/local-files/?d=photos/train/%3D1%2B1/0.png"
    assert first["data"]["given_label"] == "=1+1"
    assert first["annotations"][0]["result"][0]["value"] == {"choices": ["cat"]}
    assert first["predictions"][0]["score"] == 0.9
    assert removed["annotations"] == [{"result": [], "was_cancelled": True}]
    again = load(f"labelstudio:{out}")
    assert again.ids == tuple(kept(folder))
    assert [again.classes[label] for label in again.labels] == list(kept(folder).values())
    assert len(again.test_labels) == 6
    assert f"tasks.json: left out 1 skipped tasks: {6}." in again.notes
    out.unlink()


def test_label_studio_shows_images_that_are_no_files(texts, tmp_path):
    forms.write(texts, "labelstudio", tmp_path / "tasks.json")
    task = json.loads((tmp_path / "tasks.json").read_text())[3]
    kind, _, body = task["data"]["image"].partition(",")
    assert kind == "data:image/png;base64"
    pixels = opened(base64.b64decode(body))
    assert (pixels == texts.data.images[3, 0].numpy()).all()
    assert load(f"labelstudio:{tmp_path / 'tasks.json'}").n == 17


def test_fiftyone_has_a_data_set_for_each_part(folder, tmp_path):
    """FiftyOneImageClassificationDataset: data/, labels.json with classes and targets by name."""
    forms.write(folder, "fiftyone", tmp_path / "out")
    for part, n in (("train", len(folder.ids)), ("test", 6)):
        content = json.loads((tmp_path / "out" / part / "labels.json").read_text())
        assert content["classes"] == list(CLASSES)
        files = {p.relative_to(tmp_path / "out" / part / "data").with_suffix("").as_posix(): p
                 for p in (tmp_path / "out" / part / "data").rglob("*.*")}  # fmt: skip
        assert set(files) == set(content["labels"])
        assert len(files) == n
    content = json.loads((tmp_path / "out/train/labels.json").read_text())["labels"]
    assert content["=1+1/0"]["label"] == 2
    assert content["=1+1/0"]["attributes"]["given_label"] == "=1+1"
    assert content["=1+1/5"] is None
    webp = (tmp_path / "out/train/data/cat/-1.webp").read_bytes()
    assert webp == photos()["train/cat/-1.webp"]


@pytest.mark.parametrize("packed", [False, True])
def test_hugging_face_loads_it(folder, tmp_path, monkeypatch, packed):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    forms.write(folder, "huggingface", tmp_path / ("hub.zip" if packed else "hub"))
    if packed:
        zipfile.ZipFile(tmp_path / "hub.zip").extractall(tmp_path / "hub")
    found = datasets.load_dataset(str(tmp_path / "hub"), cache_dir=str(tmp_path / "cache"))
    assert {split: part.num_rows for split, part in found.items()} == {"train": 19, "test": 6}
    train = found["train"].cast_column("image", datasets.Image(decode=False))
    assert train["id"] == list(kept(folder))
    names = train.features["label"].names
    assert [names[label] for label in train["label"]] == list(kept(folder).values())
    assert train[-2]["image"]["bytes"] == photos()[train[-2]["id"]]
    again = load(f"manifest:{tmp_path / 'hub/data/train.parquet'}")
    assert again.ids == tuple(kept(folder))
    assert [again.classes[label] for label in again.labels] == list(kept(folder).values())


def test_croissant_describes_it(folder, tmp_path):
    mlcroissant = pytest.importorskip("mlcroissant")
    forms.write(folder, "croissant", tmp_path / "out")
    found = mlcroissant.Dataset(jsonld=str(tmp_path / "out/croissant.json"))
    assert not found.metadata.ctx.issues.errors
    rows = list(found.records("samples"))
    texts = [{key: value.decode() for key, value in row.items()} for row in rows]
    train = [row for row in texts if row["samples/split"] == "train"]
    assert [row["samples/id"] for row in train] == list(kept(folder))
    assert [row["samples/label"] for row in train] == list(kept(folder).values())
    for row in train:
        content = (tmp_path / "out" / row["samples/path"]).read_bytes()
        assert content == photos()[row["samples/id"]]


# The command line


def test_the_command_line_applies_decisions_and_names_what_it_did(folder, tmp_path, capsys):
    run = str(folder.run.folder)
    table = tmp_path / "decisions.csv"
    table.write_text(
        "sample,decision,label\ntrain/=1+1/0.png,change,cat\ntrain/cat/0.png,remove,\n"
        "train/cat/1.png,,\ntrain/cat/-1.webp,change,'=1+1\n"
    )
    options = ["--as", "folders", "--decisions", str(table), "--accept", "none"]
    assert main(["export", run, *options, "--out", str(tmp_path / "new")]) == 0
    assert "2 by 3 decisions; 1 images removed" in capsys.readouterr().out
    names = set(read(tmp_path / "new"))
    assert {"train/cat/0-from-=1+1.png", "train/=1+1/-1.webp"} <= names
    assert "train/cat/0.png" not in names
    assert main(["export", run, *options, "--out", str(tmp_path / "new")]) == 2
    assert "is a folder with files in it: name a new one" in capsys.readouterr().err


def test_the_decisions_made_in_the_app_are_applied(folder, tmp_path, capsys):
    entries = [
        {"sample": 0, "kind": "keep", "label": 0, "at": "2026-01-01", "by": "x"},
        {"sample": 0, "kind": "remove", "label": 0, "at": "2026-01-02", "by": "x"},
    ]
    path = folder.run.folder / "review.json"
    path.write_text(json.dumps({"format": 1, "log": entries}))
    out = tmp_path / "labels.csv"
    assert main(["export", str(folder.run.folder), "--out", str(out)]) == 0
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert (rows[0]["decision"], rows[0]["corrected_label"]) == ("remove", "")
    assert (rows[0]["reviewed"], rows[0]["reviewed_at"]) == ("True", "2026-01-02")
    assert main(["export", str(folder.run.folder), "--out", str(out), "--decisions", "none"]) == 0
    assert "0 images removed" in capsys.readouterr().out
    path.unlink()


def test_a_table_that_was_exported_can_be_edited_and_read_again(folder, tmp_path):
    forms.write(folder, "csv", tmp_path / "labels.csv")
    found = review.read_decisions(tmp_path / "labels.csv", folder.run)
    again = review.final_labels(folder.issues, found, None)
    assert again.labels.tolist() == folder.final.labels.tolist()
    assert again.removed.tolist() == folder.final.removed.tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sample,label\na,b\n", "has the columns sample, label; needed are"),
        ("sample,decision\n1.png,keep\n", "row 1: sample '1.png' is not in"),
        ("id,decision\ntrain/cat/0.png,drop\n", "decision 'drop'; allowed are keep, change"),
        ("id,decision,label\ntrain/cat/0.png,change,dog\n", "label 'dog' of a change; allowed are"),
        ("id,decision\ntrain/cat/0.png\n", "row 1 has 1 cells, its head 2"),
    ],
)
def test_decisions_that_cannot_be_used_are_named(folder, tmp_path, text, message):
    (tmp_path / "d.csv").write_text(text)
    with pytest.raises(StoreError, match=message):
        review.read_decisions(tmp_path / "d.csv", folder.run)


@pytest.mark.parametrize(
    ("form", "out", "message"),
    [
        ("xls", "a.xls", "form 'xls': allowed are csv, npz, folders"),
        ("npz", "a.csv", "npz is a file that ends with .npz"),
        ("manifest", "a.csv", "has no image files that a table could name: use --as folders"),
    ],
)
def test_forms_that_cannot_be_written_say_what_is_allowed(texts, tmp_path, form, out, message):
    with pytest.raises(StoreError, match=message):
        forms.write(texts, form, tmp_path / out)
    assert not list(tmp_path.iterdir())


def test_a_data_set_that_has_changed_is_refused(tmp_path):
    root = write(tmp_path / "photos", photos())
    bundle = bundle_of(trained(f"folder:{root}", tmp_path / "run"))
    (root / "train/cat/0.png").unlink()
    with pytest.raises(StoreError, match="has changed since .* train/cat/0.png is missing"):
        forms.write(bundle, "zip", tmp_path / "a.zip")


def test_a_copy_of_a_folder_is_not_written_into_it(folder):
    root = Path(folder.run.config.dataset.partition(":")[2])
    before = read(root)
    with pytest.raises(StoreError, match="is in the folder of the data set"):
        forms.write(folder, "zip", root / "repaired.zip")
    assert read(root) == before


# Whole or not at all


@pytest.mark.parametrize(
    ("form", "out"), [("zip", "a.zip"), ("folders", "new"), ("npz", "a.npz"), ("csv", "a.csv")]
)
def test_a_full_disk_leaves_the_old_file_and_nothing_half(folder, tmp_path, monkeypatch, form, out):
    if "." in out:
        (tmp_path / out).write_bytes(b"old")
    before = read(tmp_path)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(StoreError, match=f"{out} cannot be written: No space left"):
        forms.write(folder, form, tmp_path / out)
    assert read(tmp_path) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(before)


@pytest.mark.slow
def test_a_kill_leaves_the_old_file(folder, tmp_path):
    out = tmp_path / "a.zip"
    out.write_bytes(b"old")
    code = (
        "import os, sys; from engine.analysis.exports import sinks\n"
        "sinks.ZipSink.add = lambda *_: os.kill(os.getpid(), 9)\n"
        "from engine.cli.parser import main; main(sys.argv[1:])"
    )
    command = ["export", str(folder.run.folder), "--as", "zip", "--out", str(out)]
    ended = subprocess.run([sys.executable, "-c", code, *command], env=os.environ, check=False)
    assert ended.returncode == -9
    assert out.read_bytes() == b"old"
    forms.write(folder, "zip", out)  # what the killed one left is no obstacle
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]
