"""What a fork knows of its parents, whatever becomes of their folders."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.analysis import label_changes, sample_history
from engine.analysis.label_issues import label_issues
from engine.embedding import projection
from engine.embedding.maps import embed_next_epoch, map_file, read_map
from engine.runs import lineage
from engine.runs.folder import RunFolder, StoreError
from engine.runs.runner import Runner
from tests.conftest import blobs, quick

DATA = blobs()


def pinned_umap(features, dims=2, previous=None):
    """A map that depends on the one before."""
    return (np.float32(len(features)) if previous is None else previous.sum()) + np.asarray(
        features[:, :dims], np.float32
    )


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """Runs a, its fork b, and a fork of that, c; a and b have maps."""
    root = tmp_path_factory.mktemp("lineage") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(projection, "umap", pinned_umap)
        settings = dict(k=2, epochs=6, alpha=0.3, noise="symmetric", rate=0.4)
        Runner.new(quick(**settings), root / "a", data=DATA).run()
        while embed_next_epoch(root / "a", 2) is not None:
            pass
        Runner.fork(root / "a", 3, root / "b", data=DATA, k=1, epochs=7).run()
        while embed_next_epoch(root / "b", 2) is not None:
            pass
        Runner.fork(root / "b", 5, root / "c", data=DATA, k=3, epochs=8).run()
    return root


@pytest.fixture
def root(template, tmp_path, monkeypatch) -> Path:
    """The runs elsewhere; c was forked there."""
    monkeypatch.setattr(projection, "umap", pinned_umap)
    root = Path(shutil.copytree(template, tmp_path / "runs"))
    for name, parent in (("b", "a"), ("c", "b")):
        for path in (root / name).rglob("config.json"):
            info = json.loads(path.read_text())
            if info["parent"] and Path(info["parent"]["run"]).name == parent:
                info["parent"]["run"] = str(root / parent)
                path.write_text(json.dumps(info))
    return root


def known(folder: Path) -> dict:
    """What Labels, Your data, Sample, Compare and Map make of a fork."""
    run = RunFolder(folder)
    flips, issues = label_changes.label_flips(run), label_issues(run)
    embed_next_epoch(folder, 2)
    first = run.epochs[0]["epoch"]
    found = {
        "flips": [flips.epoch, flips.sample, flips.before, flips.after],
        "issues": [issues.suggested, issues.p_clean, issues.quality, issues.flagged],
        "proposed": [issues.proposed, issues.probability],
        "sample": [sample_history.sample_history(run, n, len(run.epochs)) for n in (3, 17)],
        "before": sample_history.state_before(run, 0, np.arange(9)),
        "compare": lineage.records_before(run),
        "map": read_map(folder, 2, first),
    }
    shutil.rmtree(folder / "maps")
    return found


def assert_same(a, b) -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    else:
        np.testing.assert_array_equal(a, b)


def deleted(root: Path) -> Path:
    shutil.rmtree(root / "a")
    shutil.rmtree(root / "b")
    return root / "c"


def moved_away(root: Path) -> Path:
    (root / "a").rename(root.parent / "a elsewhere")
    (root / "b").rename(root.parent / "b elsewhere")
    return root / "c"


def moved_together(root: Path) -> Path:
    root.rename(root.parent / "moved")
    return root.parent / "moved" / "c"


def moved_alone(root: Path) -> Path:
    shutil.copytree(root / "c", root.parent / "alone" / "c")
    shutil.rmtree(root)
    return root.parent / "alone" / "c"


def replaced(root: Path) -> Path:
    """Another run has the name of the parent now."""
    shutil.rmtree(root / "b")
    shutil.copytree(root / "c", root / "b")
    return root / "c"


@pytest.mark.parametrize("change", [deleted, moved_away, moved_together, moved_alone, replaced])
def test_a_fork_of_a_fork_knows_the_same_whatever_becomes_of_its_parents(root, change):
    before = known(root / "c")
    assert len(before["compare"]) == 6, "records of both parents"
    assert before["flips"][0].min() <= 3, "flips of the first"
    assert_same(known(change(root)), before)


@pytest.mark.parametrize("change", [lambda root: root / "c", moved_together])
def test_forks_of_earlier_versions_find_their_parents(root, change):
    before = known(root / "c")
    for name in ("b", "c"):
        shutil.rmtree(root / name / "parent")
    assert_same(known(root / "c"), before)
    assert_same(known(change(root)), before)


def test_a_fork_of_an_earlier_version_without_its_parent_says_so(root):
    shutil.rmtree(root / "c" / "parent")
    deleted(root)
    run = RunFolder(root / "c")
    assert run.parent is None
    assert label_changes.label_flips(run).epoch.min() == 6, (
        "earlier ones are booked on its first epoch"
    )
    with pytest.raises(StoreError, match="c is a fork of b, which is missing"):
        sample_history.state_before(run, 0, np.array([0]))


@pytest.mark.parametrize("change", [deleted, moved_together])
def test_a_fork_that_had_no_epoch_yet_is_resumed_without_its_parents(root, change):
    expected = RunFolder(root / "c").array("soft")[:]
    shutil.rmtree(root / "c")
    fork = Runner.fork(root / "b", 5, root / "c", data=DATA, k=3, epochs=8)
    fork.stop()
    fork.run()
    assert RunFolder(root / "c").epochs == []
    folder = change(root)
    runner = Runner.resume(folder, data=DATA)
    runner.run()
    assert runner.status.state == "done", runner.status
    np.testing.assert_array_equal(RunFolder(folder).array("soft"), expected)
    assert not list((folder / "parent" / "states").glob("*.pt")), "not needed any more"


def test_what_is_carried_takes_no_room_while_the_parent_is_there(template):
    for name in ("loss", "soft", "neighbors"):
        own = template / "a" / "arrays" / f"{name}.npy"
        assert own.samefile(template / "b" / "parent" / "arrays" / f"{name}.npy")
        assert own.samefile(template / "c" / "parent" / "parent" / "arrays" / f"{name}.npy")
    assert not list((template / "c" / "parent").rglob("*.pt"))
    assert [r["epoch"] for r in RunFolder(template / "b" / "parent").epochs] == [0, 1, 2, 3]
    assert [r["epoch"] for r in RunFolder(template / "c" / "parent").epochs] == [4, 5]


def test_without_links_files_are_copied_and_their_holes_stay_holes(root, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    sparse = root / "a" / "arrays" / "loss.npy"
    with open(sparse, "r+b") as file:
        file.truncate(sparse.stat().st_size + 64 * 2**20)
    (tmp_path / "fork").mkdir()
    lineage.copy_parent(RunFolder(root / "a"), 3, tmp_path / "fork")
    copy = tmp_path / "fork" / "parent"
    assert not sparse.samefile(copy / "arrays" / "loss.npy")
    assert (copy / "arrays" / "loss.npy").stat().st_blocks * 512 < 2**20
    for name in ("loss", "soft", "neighbors"):
        original = np.load(root / "a" / "arrays" / f"{name}.npy", mmap_mode="r")
        np.testing.assert_array_equal(np.load(copy / "arrays" / f"{name}.npy"), original)
    assert (copy / "states" / "3.pt").exists()
    np.testing.assert_array_equal(read_map(copy, 2, 3), read_map(root / "a", 2, 3))


def test_a_link_out_of_the_parent_is_not_carried(root, tmp_path):
    secret = tmp_path / "secret.npy"
    np.save(secret, np.zeros(3))
    (root / "a" / "arrays" / "loss.npy").unlink()
    (root / "a" / "arrays" / "loss.npy").symlink_to(secret)
    (tmp_path / "fork").mkdir()
    lineage.copy_parent(RunFolder(root / "a"), 3, tmp_path / "fork")
    assert not (tmp_path / "fork" / "parent" / "arrays" / "loss.npy").exists()
    assert (tmp_path / "fork" / "parent" / "arrays" / "soft.npy").exists()


def test_another_run_that_took_the_name_is_not_the_parent_if_it_came_later(root):
    shutil.rmtree(root / "c" / "parent")
    replaced(root)
    assert RunFolder(root / "c").parent is None


def test_a_map_of_the_parent_that_was_made_after_the_fork_is_found(root):
    for folder in (root / "b" / "parent" / "maps", root / "b" / "maps"):
        shutil.rmtree(folder)
    embed_next_epoch(root / "b", 2)
    np.testing.assert_array_equal(
        read_map(root / "b", 2, 4),
        pinned_umap(
            RunFolder(root / "b").array("panel_features")[0], 2, read_map(root / "a", 2, 3)
        ),
    )
    assert map_file(root / "a", 2, 3).exists()
