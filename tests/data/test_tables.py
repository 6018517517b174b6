"""Labels from tables: CSV, JSON Lines, Parquet, the imagefolder and datasets of Hugging Face."""

import json
from pathlib import Path

import numpy as np
import pytest

from engine import data
from engine.data import tables
from engine.errors import DataError
from tests.data.test_own_images import blob, notes, of, write

HEAD = "path,label,split,true_label\n"
ROWS = [("a.png", "NA", "train", "NA"), ("b/b.png", "=1+1", "", "NA"), ("c.png", "NA", "val", "x"),
        ("d.png", "=1+1", "Test", "")]  # fmt: skip


def photos(root: Path, names: list[str]) -> None:
    write(root, {name: blob(10 * i) for i, name in enumerate(names)})


def as_table(path: Path, rows: list[dict]) -> str:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        import pandas as pd

        pd.DataFrame(rows).to_parquet(path)
    else:
        mark = {".csv": ",", ".tsv": "\t"}[path.suffix]
        lines = [list(rows[0]), *(row.values() for row in rows)]
        path.write_text("".join(mark.join(map(str, line)) + "\n" for line in lines))
    return f"manifest:{path}"


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_paths_labels_parts_and_true_labels(tmp_path, suffix):
    photos(tmp_path, [row[0] for row in ROWS])
    rows = [dict(zip(HEAD.strip().split(","), row, strict=True)) for row in ROWS]
    found = data.load(as_table(tmp_path / f"labels{suffix}", rows))
    assert found.classes == ("=1+1", "NA")
    assert found.ids == ("a.png", "b/b.png")
    assert found.labels.tolist() == [1, 0]
    assert found.true_labels.tolist() == [1, 1]
    assert (found.val_labels.tolist(), found.test_labels.tolist()) == ([1], [0])
    assert found.images.flatten(1).amax(1).tolist() == [0, 10]
    assert int(found.test_images.max()) == 30
    assert found.notes == ()


def test_ids_without_suffix_and_numbers_as_labels(tmp_path):
    photos(tmp_path / "images", ["x1.png", "deep/x2.png", "x3.png", "y/x4.png", "z/x4.png"])
    rows = [{"id": f"x{i}", "label": 10 * (i % 2)} for i in (2, 1, 3, 4, 5)]
    found = data.load(as_table(tmp_path / "labels.csv", rows))
    assert found.ids == ("x2", "x1", "x3")  # in the order of the table
    assert found.classes == ("0", "10")
    assert found.labels.tolist() == [0, 1, 1]
    assert "left out 2 rows whose file is missing or not the only one of its name: x4, x5" in notes(
        found
    )


def test_the_labels_of_several_annotators_become_the_majority(tmp_path):
    photos(tmp_path, ["1.png", "2.png", "3.png", "4.png"])
    rows = [{"file": "1.png", "label_1": "a", "label_2": "b", "label_3": "b"},
            {"file": "2.png", "label_1": "a", "label_2": "", "label_3": ""},
            {"file": "3.png", "label_1": "a", "label_2": "b", "label_3": ""},
            {"file": "4.png", "label_1": "", "label_2": "", "label_3": ""}]  # fmt: skip
    found = data.load(as_table(tmp_path / "votes.csv", rows))
    assert [found.classes[label] for label in found.labels] == ["b", "a", "a"]
    assert "majority of 3 annotators; 1 of 3 images without a majority" in notes(found)
    assert "left out 1 rows without a path or label: 4" in notes(found)
    lists = [{"file": "1.png", "labels": ["x", "y", "x"]}, {"file": "2.png", "labels": ["y"]}]
    found = data.load(as_table(tmp_path / "votes.jsonl", lists))
    assert [found.classes[label] for label in found.labels] == ["x", "y"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"x,y\n1,2\n", "has the columns x, y; needed are path"),
        ("a.csv", b"path,label,split\n1.png,a,holdout\n", "row 1 has the split 'holdout'"),
        ("a.csv", b"path,label\n1.png,a,b\n", "row 1 has 3 cells, its head 2"),
        ("a.csv", b"path,label\n\xff\xfe.png,a\n", "not UTF-8"),
        ("a.csv", b"path,label\n9.png,a\n", "no row with an image. .*: 9.png"),
        ("a.csv", b"", "has the columns ; needed"),
        ("a.jsonl", b'{"path": "1.png", "label": "a"}\n[1]\n', "line 2 is no JSON object"),
        (
            "a.jsonl",
            b'{"path": "1.png", "label": ["a", "b"]}\n',
            "row 1 has .* one label per image",
        ),
        ("a.parquet", b"x", "no Parquet file"),
        ("a.csv", b"path,label\n1.png,a\n2.png,a\n", "two classes are needed"),
        ("a.txt", b"", "manifest:FILE needs one of .csv"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(tmp_path, name, content, message):
    photos(tmp_path, ["1.png", "2.png"])
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        data.load(f"manifest:{tmp_path / name}")


def test_a_table_beside_images_labels_a_folder(tmp_path):
    """Also as Hugging Face's imagefolder has it: one metadata file for each split."""
    photos(tmp_path / "flat" / "images", ["1.png", "2.png", "3.png", "spare.png"])
    (tmp_path / "flat" / "labels.csv").write_text("file_name,label\n1.png,a\n2.png,b\n3.png,a\n")
    (tmp_path / "flat" / "readme.txt").write_text("x")
    found = data.load(f"folder:{tmp_path / 'flat'}")
    assert found.ids == ("images/1.png", "images/2.png", "images/3.png")
    assert found.labels.tolist() == [0, 1, 0]
    assert found.notes[0] == "Labels are from labels.csv."
    assert "Left out 1 images that no table names: images/spare.png." in found.notes
    assert "(1 .txt): readme.txt." in notes(found)
    parted = tmp_path / "parted"
    photos(parted, ["train/1.png", "train/2.png", "test/1.png"])
    (parted / "train/metadata.csv").write_text("file_name,label\n1.png,a\n2.png,b\n")
    (parted / "test/metadata.jsonl").write_text('{"file_name": "1.png", "label": "b"}\n')
    found = data.load(f"folder:{parted}")
    assert (found.ids, found.test_labels.tolist()) == (("train/1.png", "train/2.png"), [1])
    (tmp_path / "flat" / "labels.csv").write_text("file_name,size\n1.png,3\n")
    with pytest.raises(DataError, match=r"labels\.csv was not used: labels\.csv has the columns"):
        data.load(f"folder:{tmp_path / 'flat'}")


def test_class_folders_count_more_than_a_table_beside_them(tmp_path):
    photos(tmp_path, ["a/1.png", "b/2.png"])
    (tmp_path / "metadata.csv").write_text("file_name,label\na/1.png,x\nb/2.png,y\n")
    assert data.load(f"folder:{tmp_path}").classes == ("a", "b")


def test_only_changed_rows_of_a_table_change():
    raw = b'\xef\xbb\xbfpath;label;note\r\n"a;1.png";cat;"two\r\nlines"\r\n\r\nb.png; cat ;x\r\n'
    new = tables.changed(raw, "x.csv", {1: "dog; or"})
    assert new == raw.replace(b"b.png; cat ;x", b'b.png;"dog; or";x')
    assert tables.changed(raw, "x.csv", {}) == raw
    votes = b"path,label_1\n1.png,a\n2.png,b\n"
    assert tables.changed(votes, "x.csv", {0: "a", 1: "c"}) == (
        b"path,label_1,label\n1.png,a,a\n2.png,b,c\n"
    )
    lines = b'{"path": "1.png",  "label": 3}\n\n{"path":"2.png","label":4}\n'
    assert tables.changed(lines, "x.jsonl", {1: "3"}) == (
        b'{"path": "1.png",  "label": 3}\n\n{"path": "2.png", "label": 3}\n'
    )


def test_every_file_that_is_left_out_is_listed_with_its_reason(tmp_path):
    """The notes name only the first ones."""
    files = {f"{k}/{i}.png": blob(i) for k in "ab" for i in range(3)}
    lost = {f"a/{i}.psd": b"x" for i in range(40)} | {"b/bad.png": b"x", "stray.png": blob()}
    found = data.load(write(tmp_path / "folders", files | lost))
    assert {name for name, _ in found.left_out} == set(lost)
    reasons = dict(found.left_out)
    assert reasons["a/7.psd"] == "file that is no image by its name"
    assert reasons["stray.png"] == "image outside the class folders"
    assert "is no JPEG" in reasons["b/bad.png"]
    photos(tmp_path / "table", ["a.png", "b.png", "c.png"])
    table = tmp_path / "table/labels.csv"
    table.write_text(HEAD + "a.png,x,,\nb.png,y,,\nlost.png,x,,\n,x,,\nc.png,z,val,\n")
    reasons = dict(data.load(f"manifest:{table}").left_out)
    assert reasons["lost.png"].startswith("row whose file is missing")
    assert reasons["labels.csv, row 4"] == "row without an image or a label"
    assert reasons["c.png"] == "image whose class has no training image"
    unlisted = data.load(f"folder:{tmp_path / 'table'}").left_out
    assert not {"a.png", "b.png"} & {name for name, _ in unlisted}


JSON_MIN = [
    {"image": "/data/upload/3/1a2b3c4d-a.png", "id": 1, "choice": "cat"},
    {"image": "s3://bucket/deep/b.png?x=1", "id": 2, "choice": ["dog"]},
]


def chosen(name: str, **more) -> dict:
    return {"result": [{"type": "choices", "value": {"choices": [name]}}], **more}


def test_tasks_of_label_studio(tmp_path):
    photos(tmp_path, ["a.png", "deep/b.png", "c.png", "d.png", "e.png"])
    (tmp_path / "min.json").write_text(json.dumps(JSON_MIN))
    found = data.load(f"labelstudio:{tmp_path / 'min.json'}")
    assert [found.classes[label] for label in found.labels] == ["cat", "dog"]
    local = "/data/local-files/?d="
    tasks = [
        {"data": {"image": f"{local}a.png"}, "annotations": [chosen("cat"), chosen("dog"),
                                                              chosen("dog")]},
        {"data": {"image": f"{local}deep%2Fb.png"}, "annotations": [
            chosen("dog"), chosen("cat", ground_truth=True)]},
        {"data": {"image": "c.png", "split": "val"}, "annotations": [],
         "predictions": [chosen("cat", score=0.2), chosen("dog", score=0.9)]},
        {"data": {"image": "d.png", "id": 7}, "annotations": [chosen("cat")]},
        {"data": {"image": "e.png"}, "annotations": [chosen("cat", was_cancelled=True)]},
        {"data": {"image": "http://x.org/missing.png"}, "annotations": [chosen("cat")]},
    ]  # fmt: skip
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    found = data.load(f"labelstudio:{tmp_path / 'tasks.json'}")
    assert [found.classes[label] for label in found.labels] == ["dog", "cat", "cat"]
    assert found.ids == ("a.png", "deep/b.png", "7")
    assert found.val_labels.tolist() == [found.classes.index("dog")]
    assert "1 tasks without an annotation have the label of their prediction" in notes(found)
    reasons = dict(found.left_out)
    assert reasons["tasks.json, task 5"] == "task that was skipped"
    assert "missing.png" in reasons


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ("{}", "is no list of tasks"),
        ("[", "is no JSON"),
        ([{"data": {"image": "a.png"}, "annotations": [
            {"result": [{"type": "choices", "value": {"choices": ["a", "b"]}}]}]}],
         "task 1 has .*one label per image is needed"),
        ([{"data": {"image": "a.png", "split": "dev"}, "annotations": [chosen("cat")]}],
         "task 1 has the split 'dev'; allowed are train, val and test"),
        ([{"data": {"image": "data:image/png;base64,???"}, "annotations": [chosen("cat")]}],
         "no data URI in base64"),
    ],
)  # fmt: skip
def test_tasks_that_cannot_be_used_say_why(tmp_path, tasks, message):
    path = tmp_path / "tasks.json"
    path.write_text(tasks if isinstance(tasks, str) else json.dumps(tasks))
    with pytest.raises(DataError, match=message):
        data.load(f"labelstudio:{path}")


def test_parquet_of_the_hub_holds_images_and_names(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    images = [{"bytes": of(np.full((8, 8), 9 * i, np.uint8)), "path": f"{i}.png"} for i in range(3)]
    table = pa.table({"image": images, "label": [0, 1, 0]})
    features = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    pq.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps(features)}), tmp_path / "a.parquet"
    )
    found = data.load(f"manifest:{tmp_path / 'a.parquet'}")
    assert (found.classes, found.ids) == (("cat", "dog"), ("0.png", "1.png", "2.png"))
    assert found.images.flatten(1).amax(1).tolist() == [0, 9, 18]


def test_without_datasets_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'mixnn-lab\[hf\]'"):
        data.load(f"hf:{tmp_path}")


def test_a_saved_data_set_of_hugging_face(tmp_path, monkeypatch):
    hf = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    features = hf.Features(
        {
            "image": hf.Image(),
            "label": hf.ClassLabel(names=["cat", "dog"]),
            "note": hf.Value("int8"),
        }
    )

    def split(labels: list[int]) -> "hf.Dataset":
        images = [{"bytes": blob(9 * i), "path": None} for i in range(len(labels))]
        rows = {"image": images, "label": labels, "note": labels}
        return hf.Dataset.from_dict(rows, features=features)

    parts = hf.DatasetDict({"train": split([0, 1, 1]), "test": split([1]), "more": split([0])})
    parts.save_to_disk(str(tmp_path / "saved"))
    found = data.load(f"hf:{tmp_path / 'saved'}")
    assert (found.classes, found.labels.tolist()) == (("cat", "dog"), [0, 1, 1])
    assert found.ids == ("train/0", "train/1", "train/2")
    assert found.test_labels.tolist() == [1]
    assert "Left out the split more: 1 rows." in found.notes
    assert found.images.flatten(1).amax(1).tolist() == [0, 9, 18]
    with pytest.raises(DataError, match="cannot be loaded"):
        data.load(f"hf:{tmp_path / 'missing'}")
