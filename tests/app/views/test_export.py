"""The exported data set has the format of the upload, and differs from it in labels only."""

import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from app.server.uploads import registry
from app.views.your_data import export
from engine.analysis.exports.bundle import Bundle
from engine.analysis.label_issues import label_issues
from engine.analysis.review import FinalLabels
from engine.config import configure
from engine.data import load
from engine.data.relabeling import write_npz
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner
from tests.app.server.test_uploads import arrays, pets, png, zipped

pytestmark = pytest.mark.usefixtures("unpacked_here")


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_of_an_npz_only_the_labels_change(tmp_path, dtype):
    labels = np.array([[0], [1], [0], [1], [2], [2]], dtype=dtype)
    (tmp_path / "a.npz").write_bytes(
        arrays(train_labels=labels, notes=np.array(["one", "two"]), extra=np.eye(3)).read()
    )
    out, final = io.BytesIO(), [2, 1, 0, 1, 1, 2]
    given = labels.ravel().astype(int)
    write_npz(tmp_path / "a.npz", np.arange(6), given, np.array(final), "abc", out)
    out.seek(0)
    before, after = np.load(tmp_path / "a.npz"), np.load(out)
    assert before.files == after.files
    for key in before.files:
        assert (before[key].dtype, before[key].shape) == (after[key].dtype, after[key].shape)
        if key != "train_labels":
            np.testing.assert_array_equal(before[key], after[key])
    assert after["train_labels"].ravel().tolist() == [2, 1, 0, 1, 1, 2]


def test_the_compression_is_kept(tmp_path):
    for save, kind in ((np.savez, zipfile.ZIP_STORED), (np.savez_compressed, zipfile.ZIP_DEFLATED)):
        save(tmp_path / "a.npz", train_images=np.zeros((2, 8, 8), np.uint8), train_labels=[0, 1])
        out = io.BytesIO()
        write_npz(tmp_path / "a.npz", np.arange(2), np.array([0, 1]), np.array([1, 1]), "abc", out)
        assert {m.compress_type for m in zipfile.ZipFile(out).infolist()} == {kind}


def original(about) -> Path:
    return Path(about.dataset.partition(":")[2]).parent / ".file"


def unpacked(out: io.BytesIO) -> dict[str, bytes]:
    with zipfile.ZipFile(out) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("prefix", ["", "pets/", "train/", "pets/Training/"])
def test_in_folders_files_are_moved(tmp_path, prefix):
    files = pets(prefix) | {f"{prefix}cat/broken.png": b"x"}
    if "rain" in prefix:
        files |= {
            prefix.lower().replace("training", "valid").replace("train", "valid")
            + "dog/7.png": png(7)
        }
    about = registry.receive(zipped(files), "pets.zip", tmp_path)
    base = Path(about.dataset.partition(":")[2])
    out = io.BytesIO()
    export.write_upload(base.parent / ".file", {"train/cat/1.png": "dog"}, out)
    # dog has a 1.png of its own: the moved one gets a name that says where it is from
    expected = {k: v for k, v in files.items() if k != f"{prefix}cat/1.png"}
    expected[f"{prefix}dog/1-from-cat.png"] = files[f"{prefix}cat/1.png"]
    assert unpacked(out) == expected
    (base.parent / ".file").unlink()  # an older server did not keep the zip
    run = ran(tmp_path, about.dataset)
    final = run.labels["given"].copy()
    final[run.labels["ids"].tolist().index("train/cat/1.png")] = 1
    older = unpacked(io.BytesIO(exported(run, final, tmp_path)))
    assert older == {k: v for k, v in expected.items() if "broken" not in k}


def test_what_was_not_read_comes_back_as_it_came(tmp_path):
    """Also formats, names and the order of the files."""
    webp, out = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (9, 9)).save(webp, "WEBP")
    files = {"x/readme.txt": b"hello", **pets("x/"), "x/cat/b.webp": webp.getvalue(),
             "x/dog/deep/c.webp": webp.getvalue()[:40], "__MACOSX/x/cat/._1.png": b"\0",
             "x/cat/.DS_Store": b"\1", "x/dog/d.psd": b"2", "stray.png": png(9)}  # fmt: skip
    about = registry.receive(zipped(files), "x.zip", tmp_path)
    moved = {"train/cat/b.webp": "dog", "train/cat/0.png": "dog"}
    export.write_upload(original(about), moved, out)
    names = {"x/cat/b.webp": "x/dog/b.webp", "x/cat/0.png": "x/dog/0-from-cat.png"}
    assert list(unpacked(out).items()) == [(names.get(k, k), v) for k, v in files.items()]


def test_names_of_a_mac_come_back_right(tmp_path):
    """They are UTF-8 without its mark."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in pets().items():
            archive.writestr(name.replace("cat", "caf\u00e9"), content)
    raw = out.getvalue()
    for start in (b"PK\x03\x04", b"PK\x01\x02"):
        at = 6 if start.endswith(b"\x04") else 8  # of the flags in a header
        for place in [m.start() for m in re.finditer(re.escape(start), raw)]:
            raw = raw[: place + at + 1] + b"\0" + raw[place + at + 2 :]
    about = registry.receive(io.BytesIO(raw), "x.zip", tmp_path)
    assert load(about.dataset).classes == ("caf\u00e9", "dog")
    new = io.BytesIO()
    export.write_upload(original(about), {"train/caf\u00e9/0.png": "dog"}, new)
    names = ["caf\u00e9/1.png", "caf\u00e9/2.png", "dog/0-from-caf\u00e9.png"]
    assert sorted(unpacked(new))[:3] == names


def test_labels_from_a_table_come_back_in_the_table(tmp_path):
    table = b'file_name;label;note\r\n"0.png"; cat ;1\r\n1.png;"dog";2\r\n2.png;dog;3\r\n'
    files = {
        "labels.csv": table,
        **{f"images/{i}.png": png(9 * i) for i in range(3)},
        "x.txt": b"x",
    }
    about = registry.receive(zipped(files), "x.zip", tmp_path)
    run, data = ran(tmp_path, about.dataset), load(about.dataset)
    final = data.labels.numpy().copy()
    final[data.ids.index("train/dog/images/2.png")] = 0
    out = exported(run, final, tmp_path)
    expected = files | {"labels.csv": table.replace(b"2.png;dog", b"2.png;cat")}
    assert list(unpacked(io.BytesIO(out)).items()) == list(expected.items())


def test_a_parquet_table_of_labels_comes_back_as_parquet(tmp_path):
    """Read and written by other processes."""
    table = io.BytesIO()
    rows = {
        "file_name": ["0.png", "1.png", "2.png"],
        "label": ["cat", "dog", "dog"],
        "x": [1, 2, 3],
    }
    parquet.write_table(pa.table(rows), table)
    files = {"labels.parquet": table.getvalue(), **{f"{i}.png": png(9 * i) for i in range(3)}}
    about = registry.receive(zipped(files), "x.zip", tmp_path)
    assert "Labels are from labels.parquet." in about.notes
    out = io.BytesIO()
    export.write_upload(original(about), {"train/dog/2.png": "cat", "train/dog/1.png": None}, out)
    found = unpacked(out)
    again = parquet.read_table(io.BytesIO(found.pop("labels.parquet"))).to_pydict()
    assert again == {"file_name": ["0.png", "2.png"], "label": ["cat", "cat"], "x": [1, 3]}
    assert found == {"0.png": png(0), "2.png": png(18)}
    with pytest.raises(export.ExportError, match="train/dog/7.png is not found in the upload"):
        export.write_upload(original(about), {"train/dog/7.png": "cat"}, io.BytesIO())


def test_a_folder_of_the_server_comes_back_whole(tmp_path):
    files = {"readme.txt": b"hello", **pets(), "cat/deep/9.png": png(9)}
    for name, content in files.items():
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(content)
    run = ran(tmp_path, f"folder:{tmp_path / 'photos'}")
    data = load(run.config.dataset)
    final = data.labels.numpy().copy()
    final[data.ids.index("cat/deep/9.png")] = 1
    out = exported(run, final, tmp_path)
    assert unpacked(io.BytesIO(out)) == {
        name.replace("cat/deep", "dog/deep"): content for name, content in files.items()
    }


def test_ids_of_classes_and_one_hot_labels_come_back_as_such(tmp_path):
    given, final = np.array([0, 1, 2, 0, 1, 2]), np.array([0, 1, 2, 2, 1, 0])
    ids = np.array([7, 150, 2999])
    for labels, expected in ((ids[given], ids[final]), (np.eye(3)[given], np.eye(3)[final])):
        (tmp_path / "a.npz").write_bytes(arrays(train_labels=labels).read())
        assert load(f"npz:{tmp_path / 'a.npz'}").labels.tolist() == given.tolist()
        out = io.BytesIO()
        write_npz(tmp_path / "a.npz", np.arange(6), given, final, "abc", out)
        out.seek(0)
        assert (np.load(out)["train_labels"] == expected).all()


def test_moved_files_never_overwrite_each_other(tmp_path):
    files = {"a/1.PNG": png(1), "b/1.png": png(2), "c/1.png": png(3), "c/1-from-a.png": png(4),
             "a/3.png": png(5), "b/3.png": png(6)}  # fmt: skip
    about = registry.receive(zipped(files), "x.zip", tmp_path)
    out = io.BytesIO()
    moved = dict.fromkeys(["train/a/1.PNG", "train/b/1.png", "train/a/3.png", "train/b/3.png"], "c")
    export.write_upload(original(about), moved, out)
    found = unpacked(out)
    assert (found["c/3.png"], found["c/3-from-b.png"]) == (png(5), png(6))
    assert sorted(found.values()) == sorted(files.values())
    assert found["c/1-from-a-2.PNG"] == png(1)
    assert found["c/1-from-b.png"] == png(2)


def test_swapped_files_keep_their_names(tmp_path):
    files = {"a/1.png": png(1), "b/1.png": png(2)}
    about = registry.receive(zipped(files), "x.zip", tmp_path)
    out = io.BytesIO()
    moved = {"train/a/1.png": "b", "train/b/1.png": "a"}
    export.write_upload(original(about), moved, out)
    assert unpacked(out) == {"b/1.png": png(1), "a/1.png": png(2)}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_of_features_is_uploaded_and_comes_back_with_other_labels(tmp_path, suffix):
    names = ["NA", "=1+1", "cat"] * 4
    table = pd.DataFrame({"id": [f"w{i}" for i in range(12)], "size": np.arange(12.0) % 3,
                          "color": ["red", "blue"] * 6, "path": "/etc/passwd",
                          "label": [*names[:11], None]})  # fmt: skip
    out = io.BytesIO()
    (table.to_csv if suffix == ".csv" else table.to_parquet)(out, index=False)
    about = registry.receive(io.BytesIO(out.getvalue()), f"my wines{suffix}", tmp_path)
    assert about.form == "features"
    assert any("left out" in note.lower() for note in about.notes)
    data = load(about.dataset)
    assert (data.n, data.shape, data.ids[:2]) == (11, (3, 1, 1), ("w0", "w1"))
    assert data.shown.pictures([0]).shape == (1, 128, 128, 3)  # id, size and color
    assert all(path is None for path in data.shown.table.paths)
    run = ran(tmp_path, about.dataset)
    final = run.labels["given"].copy()
    final[0] = data.classes.index("cat")
    back = io.BytesIO(exported(run, final, tmp_path))
    new = pd.read_csv(back, keep_default_na=False, na_values=[""]) if suffix == ".csv" else (
        pd.read_parquet(back)
    )  # fmt: skip
    wanted = table.assign(label=["cat", *table["label"][1:]])
    pd.testing.assert_frame_equal(new, wanted, check_dtype=False)


def test_too_large_for_a_zip(tmp_path):
    about = registry.receive(zipped(pets()), "x.zip", tmp_path)
    with pytest.raises(export.ExportError, match="use the table"):
        export.write_upload(original(about), {}, io.BytesIO(), most=100)


def exported(run: RunFolder, final, root: Path, form: str = "", removed=()) -> bytes:
    """The data set of a run with these labels (N,), by default in its own form."""
    issues = label_issues(run)
    gone = np.isin(np.arange(len(final)), removed)
    labels = FinalLabels(np.asarray(final), gone, ["change"] * len(final), [""] * len(final))
    bundle = Bundle(run, issues, labels)
    return export.contents(bundle, form or export.own_form(bundle, root), root)


SHORT = dict(epochs=2, warmup=1, correction_start=1, batch_size=4, k=1, noise="none", rate=0.0)


def ran(root, dataset: str, **settings) -> RunFolder:
    runner = Runner.new(configure(dataset=dataset, **SHORT | settings), root / "run")
    runner.run()
    assert runner.status.state == "done", runner.status.error
    return RunFolder(root / "run")


def test_a_run_of_an_npz_subset_writes_into_the_right_rows(tmp_path):
    about = registry.receive(arrays(), "mine.npz", tmp_path)
    run = ran(tmp_path, about.dataset, limit=3)
    data = load(about.dataset, limit=3)
    rows = [int(name) for name in data.ids]
    out = np.load(io.BytesIO(exported(run, np.array([2, 2, 1]), tmp_path)))
    expected = load(about.dataset).labels.numpy().copy()
    expected[rows] = [2, 2, 1]
    assert out["train_labels"].ravel().tolist() == expected.tolist()


def test_a_run_of_folders_moves_the_right_files(tmp_path):
    about = registry.receive(zipped(pets()), "pets.zip", tmp_path)
    run, data = ran(tmp_path, about.dataset), load(about.dataset)
    final = data.labels.numpy().copy()
    final[data.ids.index("train/cat/2.png")] = 1
    names = zipfile.ZipFile(io.BytesIO(exported(run, final, tmp_path))).namelist()
    assert sorted(names) == [
        "cat/0.png",
        "cat/1.png",
        "dog/0.png",
        "dog/1.png",
        "dog/2-from-cat.png",
        "dog/2.png",
    ]


def test_built_in_data_becomes_an_npz_that_can_be_trained_on(tmp_path):
    run = ran(tmp_path, "digits", limit=40, batch_size=16)
    data = load("digits", limit=40)
    final = np.roll(data.labels.numpy(), 1)
    (tmp_path / "again.npz").write_bytes(exported(run, final, tmp_path))
    again = load(f"npz:{tmp_path / 'again.npz'}")
    assert again.labels.tolist() == final.tolist()
    assert again.images.equal(data.images)
    assert again.test_labels.equal(data.test_labels)
    assert again.classes == data.classes


def test_a_class_stored_as_on_a_mac_is_one_folder_in_the_zip(tmp_path):
    base = tmp_path / "photos"
    for home in ("cafe\u0301/1.png", "dog/1.png", "dog/2.png"):
        (base / home).parent.mkdir(parents=True, exist_ok=True)
        (base / home).write_bytes(png(len(home) + home.count("2")))
    run = ran(tmp_path, f"folder:{base}")
    out = io.BytesIO(exported(run, [0, 0, 1], tmp_path))
    names = ["cafe\u0301/1-from-dog.png", "cafe\u0301/1.png", "dog/2.png"]
    assert sorted(unpacked(out)) == names


def test_other_forms_of_an_upload_hold_its_files_as_they_came(tmp_path):
    """The server itself keeps a webp as PNG; removed images are left out."""
    webp = io.BytesIO()
    Image.new("RGB", (9, 9)).save(webp, "WEBP", lossless=True)
    files = pets("x/") | {"x/cat/b.webp": webp.getvalue()}
    run = ran(tmp_path, registry.receive(zipped(files), "x.zip", tmp_path).dataset)
    removed, given = run.labels["ids"].tolist().index("train/cat/0.png"), run.labels["given"]
    table, tasks, fiftyone, hub = (
        exported(run, given, tmp_path, form, [removed])
        for form in ("manifest", "labelstudio", "fiftyone", "huggingface")
    )
    paths = [line.partition(",")[0] for line in table.decode().splitlines()]
    assert paths == ["path", *sorted(files)[1:]]
    assert json.loads(tasks)[3]["data"]["image"] == "/data/local-files/?d=x/cat/b.webp"
    assert unpacked(io.BytesIO(fiftyone))["train/data/x/cat/b.webp"] == webp.getvalue()
    rows = parquet.read_table(io.BytesIO(unpacked(io.BytesIO(hub))["data/train.parquet"]))
    images = {row["path"]: row["bytes"] for row in rows["image"].to_pylist()}
    assert images == {name: files[name] for name in sorted(files)[1:]}
