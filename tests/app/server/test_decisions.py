"""Decisions survive reloads and are merged; the evidence for a label."""

import json
import shutil
import threading

import numpy as np
import pytest

from app.server.decisions import ReviewError, Reviews, Step, has_decisions
from app.server.storage import StorageError, storage_of
from engine.analysis import label_evidence
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner
from tests.app.conftest import locked
from tests.conftest import blobs, quick


@pytest.fixture(scope="session")
def noisy(tmp_path_factory):
    """A finished run on blobs of which a tenth of the labels is wrong."""
    folder = tmp_path_factory.mktemp("noisy") / "run"
    data = blobs(n=120)
    config = quick(noise="symmetric-exclusive", rate=0.1, epochs=6, alpha=0.7, k=3)
    Runner.new(config, folder, data=data).run()
    return RunFolder(folder)


@pytest.fixture
def run(noisy, tmp_path) -> RunFolder:
    shutil.copytree(noisy.folder, tmp_path / "run")
    return RunFolder(tmp_path / "run")


@pytest.fixture
def folder(tmp_path):
    """A run's folder in a runs root."""
    path = tmp_path / "runs" / "run"
    path.mkdir(parents=True)
    return path


def reviews(folder, n=20, c=3) -> Reviews:
    return Reviews(folder, n, c)


# --- the log


def test_the_last_decision_about_a_sample_counts_and_survives(folder):
    first = reviews(folder)
    first.decide(3, "change", 2, by="ann")
    first.decide(4, "skip", 0, by="ann")
    first.decide(3, "keep", 1, by="ann")
    latest = reviews(folder).latest()  # another server, later
    assert {s: (d.kind, d.label) for s, d in latest.items()} == {3: ("keep", 1), 4: ("skip", 0)}
    assert latest[3].at.endswith("+00:00")


def test_undo_removes_ones_own_newest_and_restores_the_previous_one(folder):
    store = reviews(folder)
    store.decide(3, "change", 2, by="ann")
    store.decide(3, "change", 1, by="ann")
    store.decide(5, "keep", 0, by="bob")
    taken = store.undo("ann")
    assert (taken.sample, taken.label) == (3, 1)
    assert store.latest()[3].label == 2
    assert store.latest()[5].by == "bob"
    store.undo("ann")
    assert store.undo("ann") is None
    assert list(store.latest()) == [5]


def test_two_tabs_do_not_lose_each_others_decisions(folder):
    def decide(samples):
        own = reviews(folder, n=200)
        for sample in samples:
            own.decide(sample, "change", sample % 3, by=str(sample % 4))

    tabs = [threading.Thread(target=decide, args=(range(k, 80, 4),)) for k in range(4)]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()
    assert sorted(reviews(folder, n=200).latest()) == list(range(80))


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        ((20, "keep", 0), "sample 20: allowed is 0 to 19"),
        ((-1, "keep", 0), "sample -1"),
        ((0, "keep", 3), "label 3: allowed is 0 to 2"),
        ((0, "burn", 0), "'burn': allowed are keep, change, skip, remove"),
    ],
)
def test_invalid_decisions(folder, decision, reason):
    with pytest.raises(ReviewError, match=reason):
        reviews(folder).decide(*decision)
    assert not (folder / "review.json").exists()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"format": 9, "log": []}',
        '{"format": 1, "log": [{"sample": 1}]}',
        '{"format": 1, "log": [{"sample": 99, "kind": "keep", "label": 0, "at": ""}]}',
    ],
)
def test_a_file_that_is_broken_is_named_and_never_overwritten(folder, text):
    (folder / "review.json").write_text(text)
    with pytest.raises(ReviewError, match=r"review\.json cannot be read .*rename it"):
        reviews(folder).latest()
    with pytest.raises(ReviewError):
        reviews(folder).decide(0, "keep", 0)
    assert (folder / "review.json").read_text() == text


def test_a_decision_survives_a_copy_that_cannot_be_written(folder, monkeypatch, caplog):
    store = reviews(folder)
    store.decide(1, "keep", 0)
    before = (folder / "review.json").read_text()
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", lambda *a: (_ for _ in ()).throw(OSError(28, "full")))
        store.decide(2, "keep", 0)
    assert "review.json is out of date" in caplog.text
    assert (folder / "review.json").read_text() == before  # whole, if old
    assert list(reviews(folder).latest()) == [1, 2]
    store.decide(3, "keep", 0)
    assert [entry["sample"] for entry in written(folder)] == [1, 2, 3]


def test_a_decision_that_cannot_be_stored_is_refused_and_changes_nothing(folder):
    store = reviews(folder)
    store.decide(1, "keep", 0)
    storage = storage_of(folder.parent)
    with locked(storage), pytest.raises(StorageError, match="Nothing was changed"):
        store.decide(2, "keep", 0)
    assert list(store.latest()) == [1]
    assert [entry["sample"] for entry in written(folder)] == [1]


def test_decisions_move_with_a_run_that_is_moved(folder, tmp_path):
    store = reviews(folder)
    store.decide(1, "change", 2, by="ann")
    store.decide(1, "keep", 0, by="bob")
    target = tmp_path / "other server" / "renamed"
    target.parent.mkdir()
    shutil.move(folder, target)
    moved = reviews(target)
    assert [d.by for d in moved.log()] == ["ann", "bob"]
    moved.undo("bob")
    assert moved.latest()[1].label == 2
    assert [entry["by"] for entry in written(target)] == ["ann"]
    moved.undo("ann")
    assert moved.log() == written(target) == []


def test_decisions_of_an_older_server_are_imported_once(folder):
    entry = {"sample": 3, "kind": "keep", "label": 0, "at": "2026-01-01T00:00:00+00:00", "by": "a"}
    (folder / "review.json").write_text(json.dumps({"format": 1, "log": [entry]}))
    (folder / "review.lock").touch()
    store = reviews(folder)
    assert has_decisions(folder)
    store.decide(4, "skip", 0, by="b")
    assert [d.sample for d in store.log()] == [3, 4] == [e["sample"] for e in written(folder)]
    (folder / "review.json").unlink()
    assert [d.sample for d in reviews(folder).log()] == [3, 4]  # the storage has them
    store.undo("a")
    store.undo("b")
    assert not has_decisions(folder)
    assert store.log() == []


def test_steps_of_a_browser_are_applied_once_however_often_they_are_sent(folder):
    store = reviews(folder)
    store.decide(5, "skip", 0, by="bob")
    first = Step(1, [(s, "change", 2) for s in range(8)])
    steps = [
        first,
        Step(2, [(8, "remove", 1)]),
        Step(3, undone=range(8)),
        Step(4, [(3, "keep", 0)]),
    ]
    assert store.receive("tab", steps[:1], by="ann") == (1, [])
    assert store.receive("tab", steps, by="ann") == (4, [])  # the first is sent again
    once = store.log()
    assert {s: (d.kind, d.by) for s, d in store.latest().items()} == {
        5: ("skip", "bob"), 8: ("remove", "ann"), 3: ("keep", "ann")
    }  # fmt: skip
    assert store.receive("tab", steps, by="ann") == (4, [])
    assert store.log() == once
    other = [Step(1, [(9, "keep", 0)])]  # another browser counts for itself
    assert reviews(folder).receive("another tab", other, by="ann") == (1, [])
    assert len(store.log()) == len(once) + 1


def test_a_group_is_undone_as_one(folder):
    store = reviews(folder)
    store.receive("tab", [Step(1, [(2, "keep", 0)]), Step(2, [(4, "keep", 0), (6, "keep", 0)])])
    assert store.undo().sample == 4
    assert list(store.latest()) == [2]
    assert store.undo().sample == 2
    assert store.undo() is None


def test_a_step_that_does_not_fit_is_refused_alone_and_one_that_cannot_be_stored_waits(folder):
    store = reviews(folder)
    steps = [Step(1, [(1, "keep", 0)]), Step(2, [(2, "keep", 0), (20, "keep", 0)])]
    steps.append(Step(3, [(3, "keep", 0)]))
    with locked(storage_of(folder.parent)), pytest.raises(StorageError):
        store.receive("tab", steps)
    assert store.log() == []
    assert store.receive("tab", steps) == (3, ["sample 20: allowed is 0 to 19"])
    assert list(store.latest()) == [1, 3]


def test_the_newest_browsers_are_remembered(folder, monkeypatch):
    monkeypatch.setattr("app.server.decisions.MAX_SOURCES", 2)
    store = reviews(folder)
    for number, source in enumerate(("a", "b", "a", "c"), start=1):
        store.receive(source, [Step(number, [(1, "keep", 0)])])
    assert storage_of(folder.parent).table("received") == {"run": {"a": 3, "c": 4}}
    storage_of(folder.parent).forget("run")
    assert storage_of(folder.parent).table("received") == {}


def test_two_runs_do_not_mix_and_a_forgotten_one_is_empty(folder):
    other = folder.parent / "other"
    other.mkdir()
    reviews(folder).decide(1, "keep", 0, by="ann")
    reviews(other).decide(2, "keep", 0, by="ann")
    assert list(reviews(folder).latest()) == [1]
    storage_of(folder.parent).forget("run")
    shutil.rmtree(folder)
    folder.mkdir()
    assert reviews(folder).log() == []
    assert list(reviews(other).latest()) == [2]


def written(folder):
    return json.loads((folder / "review.json").read_text())["log"]


# --- what speaks for a label


def test_neighbors_are_the_nearest_in_the_panel(run):
    features = np.array(run.array("panel_features")[5], dtype=np.float64)
    assert len(features) == 120
    for sample in (0, 17, 119):
        near, distances = label_evidence.nearest_samples(run, 5, sample, most=4)
        brute = ((features - features[sample]) ** 2).sum(1)
        brute[sample] = np.inf
        np.testing.assert_allclose(distances, np.sqrt(np.sort(brute)[:4]), rtol=1e-4)
        assert sample not in near


def test_outside_the_panel_the_mixing_partners_are_the_neighbors(tmp_path):
    config = quick(rate=0.1, epochs=3, k=2, panel_size=12)
    Runner.new(config, tmp_path / "run", data=blobs(n=60)).run()
    run = RunFolder(tmp_path / "run")
    outside = next(i for i in range(60) if i not in run.labels["panel"])
    near, _ = label_evidence.nearest_samples(run, 2, outside)
    assert near.tolist() == run.mixing_of(2)[0][outside].tolist()
    near, _ = label_evidence.nearest_samples(run, 0, outside)  # warm-up: nothing was mixed
    assert len(near) == 0
