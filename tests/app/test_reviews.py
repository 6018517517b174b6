"""Decisions that outlive reloads and meet in one file; what speaks for a label."""

import json
import shutil
import threading

import numpy as np
import pytest

from app.review import suspects
from app.review.reviews import ReviewError, Reviews
from engine.runner import Runner
from engine.store import Run
from tests.conftest import blobs, quick


@pytest.fixture(scope="session")
def spoiled(tmp_path_factory):
    """A finished run on blobs of which a tenth of the labels is wrong."""
    folder = tmp_path_factory.mktemp("spoiled") / "run"
    data = blobs(n=120)
    config = quick(noise="symmetric-exclusive", rate=0.1, epochs=6, alpha=0.7, k=3)
    Runner.new(config, folder, data=data).run()
    return Run(folder)


@pytest.fixture
def run(spoiled, tmp_path) -> Run:
    shutil.copytree(spoiled.folder, tmp_path / "run")
    return Run(tmp_path / "run")


def reviews(folder, n=20, c=3) -> Reviews:
    return Reviews(folder, n, c)


# --- the file


def test_the_last_decision_about_a_sample_counts_and_survives(tmp_path):
    first = reviews(tmp_path)
    first.decide(3, "change", 2, by="ann")
    first.decide(4, "skip", 0, by="ann")
    first.decide(3, "keep", 1, by="ann")
    latest = reviews(tmp_path).latest()  # another server, later
    assert {s: (d.kind, d.label) for s, d in latest.items()} == {3: ("keep", 1), 4: ("skip", 0)}
    assert latest[3].at.endswith("+00:00")


def test_undo_takes_back_ones_own_newest_and_brings_the_one_before(tmp_path):
    store = reviews(tmp_path)
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


def test_two_tabs_do_not_lose_each_others_decisions(tmp_path):
    def decide(samples):
        own = reviews(tmp_path, n=200)
        for sample in samples:
            own.decide(sample, "change", sample % 3, by=str(sample % 4))

    tabs = [threading.Thread(target=decide, args=(range(k, 80, 4),)) for k in range(4)]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()
    assert sorted(reviews(tmp_path, n=200).latest()) == list(range(80))


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        ((20, "keep", 0), "sample 20: allowed is 0 to 19"),
        ((-1, "keep", 0), "sample -1"),
        ((0, "keep", 3), "label 3: allowed is 0 to 2"),
        ((0, "burn", 0), "'burn': allowed are keep, change, skip"),
    ],
)
def test_decisions_about_nothing(tmp_path, decision, reason):
    with pytest.raises(ReviewError, match=reason):
        reviews(tmp_path).decide(*decision)
    assert not (tmp_path / "review.json").exists()


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", '{"format": 9, "log": []}', '{"format": 1, "log": [{"sample": 1}]}',
        '{"format": 1, "log": [{"sample": 99, "kind": "keep", "label": 0, "at": ""}]}',
    ],
)  # fmt: skip
def test_a_file_that_is_broken_is_named_and_never_overwritten(tmp_path, text):
    (tmp_path / "review.json").write_text(text)
    with pytest.raises(ReviewError, match=r"review\.json cannot be read .*rename it"):
        reviews(tmp_path).latest()
    with pytest.raises(ReviewError):
        reviews(tmp_path).decide(0, "keep", 0)
    assert (tmp_path / "review.json").read_text() == text


def test_the_file_is_written_whole(tmp_path, monkeypatch):
    store = reviews(tmp_path)
    store.decide(1, "keep", 0)
    before = (tmp_path / "review.json").read_text()
    monkeypatch.setattr("os.replace", lambda *a: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(ReviewError, match="was not kept"):
        store.decide(2, "keep", 0)
    assert (tmp_path / "review.json").read_text() == before
    assert json.loads(before)["format"] == 1


# --- what speaks for a label


def test_neighbors_are_the_nearest_in_the_panel(run):
    features = np.array(run.array("panel_features")[5], dtype=np.float64)
    assert len(features) == 120
    for sample in (0, 17, 119):
        near, distances = suspects.evidence(run, 5, sample, most=4)
        brute = ((features - features[sample]) ** 2).sum(1)
        brute[sample] = np.inf
        np.testing.assert_allclose(distances, np.sqrt(np.sort(brute)[:4]), rtol=1e-4)
        assert sample not in near


def test_outside_the_panel_the_mixing_partners_are_the_neighbors(tmp_path):
    config = quick(rate=0.1, epochs=3, k=2, panel_size=12)
    Runner.new(config, tmp_path / "run", data=blobs(n=60)).run()
    run = Run(tmp_path / "run")
    outside = next(i for i in range(60) if i not in run.labels["panel"])
    near, _ = suspects.evidence(run, 2, outside)
    assert near.tolist() == run.mixed_with(2)[0][outside].tolist()
    near, _ = suspects.evidence(run, 0, outside)  # warm-up: nothing was mixed
    assert len(near) == 0
