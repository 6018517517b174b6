"""The exported data set has the format of the upload, and differs from it in labels only."""

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.server.decisions import Decision
from app.server.uploads import registry
from app.server.uploads.contents import Layout
from app.views.your_data import export
from engine.analysis.label_issues import LabelIssues
from engine.config import configure
from engine.data import load
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner
from tests.app.server.test_uploads import arrays, pets, png, zipped


def issues_of(given, suggested, proposed, probability) -> LabelIssues:
    given, suggested = np.array(given), np.array(suggested)
    likelihood = np.full((len(given), 3), 0.0)
    likelihood[np.arange(len(given)), suggested] = 0.8
    clean = np.linspace(0.1, 0.9, len(given))
    clean[4] = np.nan
    return LabelIssues(
        given=given,
        suggested=suggested,
        pred_probs=likelihood,
        p_clean=clean,
        quality=clean / 2,
        probability=np.array(probability),
        flagged=np.arange(len(given)),
        proposed=np.array(proposed),
        soft_argmax=np.array([2, 2, 2, 2, 2]),
        soft_weight=np.full(len(given), 0.6),
        votes=likelihood,
        noise=None,
        warning=None,
    )


ISSUES = issues_of([0, 1, 2, 0, 1], [1, 1, 0, 2, 0], [1, 1, 0, 2, 1], [0.96, 0.8, 0.98, 0.99, 0.99])
DECISIONS = {
    0: Decision(0, "keep", 0, "2026-01-01T00:00:00+00:00"),
    2: Decision(2, "change", 1, "2026-01-02T00:00:00+00:00"),
}


def test_only_decided_labels_change():
    final, how = export.final_labels(ISSUES, DECISIONS)
    assert final.tolist() == [0, 1, 1, 0, 1]
    assert how == ["keep", "", "change", "", ""]
    assert ISSUES.given.tolist() == [0, 1, 2, 0, 1]


def test_unseen_changes_only_on_request_and_never_against_a_decision():
    final, how = export.final_labels(ISSUES, DECISIONS, accept=0.95)
    assert final.tolist() == [0, 1, 1, 2, 1]
    assert how == ["keep", "", "change", "auto", ""]


def test_a_suggestion_that_is_not_proposed_changes_nothing_unseen():
    """However sure: sample 4 has a suggestion, and no proposal."""
    final, how = export.final_labels(ISSUES, {}, accept=0.95)
    assert final.tolist() == [1, 1, 0, 2, 1]
    assert how == ["auto", "", "auto", "auto", ""]


def test_what_belongs_to_no_class_is_left_out(tmp_path):
    decisions = {1: Decision(1, "remove", 1, "2026-01-01T00:00:00+00:00")}
    final, how = export.final_labels(ISSUES, decisions, accept=0.95)
    assert how[1] == "remove"
    assert final[1] == ISSUES.given[1]
    rows = list(csv.DictReader(io.StringIO(export.table("abc", "vwxyz", ISSUES, decisions))))
    assert (rows[1]["decision"], rows[1]["final"]) == ("remove", "")
    before = dict(train_images=np.arange(5), train_labels=np.arange(5) % 3, extra=np.arange(5))
    np.savez(tmp_path / "a.npz", **before)
    out = io.BytesIO()
    given = before["train_labels"]
    export.write_npz(tmp_path / "a.npz", np.arange(5), given, given, out, np.array([1]))
    after = np.load(io.BytesIO(out.getvalue()))
    assert after["train_images"].tolist() == [0, 2, 3, 4]
    assert after["train_labels"].tolist() == [0, 2, 0, 1]
    assert after["extra"].tolist() == [0, 1, 2, 3, 4]


def test_the_file_of_what_belongs_to_no_class_is_left_out(tmp_path):
    about = registry.receive(zipped(pets()), "pets.zip", tmp_path)
    base = Path(about.dataset.partition(":")[2])
    gone = "train/cat/1.png"
    for out in (outs := (io.BytesIO(), io.BytesIO())):
        if out is outs[0]:
            export.write_upload(original(about), {}, out, dropped={gone})
        else:
            export.write_folder(base, about.layout, {}, out, dropped={gone})
    names = [set(zipfile.ZipFile(out).namelist()) for out in outs]
    assert names[0] == set(pets()) - {"cat/1.png"}
    assert len(names[1]) == len(pets()) - 1


def test_the_table_has_everything():
    text = export.table(["a", 'b,"', "ü"], ["x", "y", "z", "w", "v"], ISSUES, DECISIONS, 0.95)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["id"] for row in rows] == ["x", "y", "z", "w", "v"]
    assert [row["final"] for row in rows] == ["a", 'b,"', 'b,"', "ü", 'b,"']
    assert [row["decision"] for row in rows] == ["keep", "", "change", "auto", ""]
    assert rows[4]["p_clean"] == ""  # not known
    assert rows[2] == {
        "id": "z",
        "given": "ü",
        "suggested": "a",
        "probability": "0.980000",
        "proposed": "a",
        "decision": "change",
        "final": 'b,"',
        "p_clean": "0.500000",
        "is_label_issue": "True",
        "label_quality": "0.250000",
        "reason": "The network sees a (80 %) rather than ü (0 %), and of the most similar images "
        "80 % are labeled a, 0 % ü.",
        "soft_label_argmax": "ü",
        "reviewed_at": "2026-01-02T00:00:00+00:00",
    }


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_of_an_npz_only_the_labels_change(tmp_path, dtype):
    labels = np.array([[0], [1], [0], [1], [2], [2]], dtype=dtype)
    (tmp_path / "a.npz").write_bytes(
        arrays(train_labels=labels, notes=np.array(["one", "two"]), extra=np.eye(3)).read()
    )
    out, final = io.BytesIO(), [2, 1, 0, 1, 1, 2]
    export.write_npz(
        tmp_path / "a.npz", np.arange(6), labels.ravel().astype(int), np.array(final), out
    )
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
        export.write_npz(tmp_path / "a.npz", np.arange(2), np.array([0, 1]), np.array([1, 1]), out)
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
    older = io.BytesIO()  # of an upload whose zip was not kept
    export.write_folder(base, about.layout, {"train/cat/1.png": "dog"}, older)
    assert unpacked(older) == {k: v for k, v in expected.items() if "broken" not in k}


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
    out = export.data_set(run, data, final, tmp_path)
    expected = files | {"labels.csv": table.replace(b"2.png;dog", b"2.png;cat")}
    assert list(unpacked(io.BytesIO(out)).items()) == list(expected.items())


def test_a_folder_of_the_server_comes_back_whole(tmp_path):
    files = {"readme.txt": b"hello", **pets(), "cat/deep/9.png": png(9)}
    for name, content in files.items():
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(content)
    run = ran(tmp_path, f"folder:{tmp_path / 'photos'}")
    data = load(run.config.dataset)
    final = data.labels.numpy().copy()
    final[data.ids.index("cat/deep/9.png")] = 1
    out = export.data_set(run, data, final, tmp_path)
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
        export.write_npz(tmp_path / "a.npz", np.arange(6), given, final, out)
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


def test_too_large_for_a_zip(tmp_path):
    about = registry.receive(zipped(pets()), "x.zip", tmp_path)
    with pytest.raises(export.ExportError, match="use the table"):
        export.write_upload(original(about), {}, io.BytesIO(), most=100)


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
    out = np.load(io.BytesIO(export.data_set(run, data, np.array([2, 2, 1]), tmp_path)))
    expected = load(about.dataset).labels.numpy().copy()
    expected[rows] = [2, 2, 1]
    assert out["train_labels"].ravel().tolist() == expected.tolist()


def test_a_run_of_folders_moves_the_right_files(tmp_path):
    about = registry.receive(zipped(pets()), "pets.zip", tmp_path)
    run, data = ran(tmp_path, about.dataset), load(about.dataset)
    final = data.labels.numpy().copy()
    final[data.ids.index("train/cat/2.png")] = 1
    names = zipfile.ZipFile(io.BytesIO(export.data_set(run, data, final, tmp_path))).namelist()
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
    (tmp_path / "again.npz").write_bytes(export.data_set(run, data, final, tmp_path))
    again = load(f"npz:{tmp_path / 'again.npz'}")
    assert again.labels.tolist() == final.tolist()
    assert again.images.equal(data.images)
    assert again.test_labels.equal(data.test_labels)
    assert again.classes == data.classes


def test_a_class_stored_as_on_a_mac_is_one_folder_in_the_zip(tmp_path):
    base = tmp_path / "photos"
    for home in ("train/cafe\u0301/1.png", "train/dog/1.png"):
        (base / home).parent.mkdir(parents=True, exist_ok=True)
        (base / home).write_bytes(png(home.count("dog")))
    out = io.BytesIO()
    export.write_folder(base, Layout(), {"train/dog/1.png": "caf\u00e9"}, out)
    assert sorted(unpacked(out)) == ["cafe\u0301/1-from-dog.png", "cafe\u0301/1.png"]
