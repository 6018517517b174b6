"""One sample over the epochs, against the arrays of the run folder read by NumPy alone."""

import json
import shutil

import numpy as np
import pytest

from engine.analysis import sample_history
from engine.errors import StoreError
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner
from tests.conftest import blobs, quick, quick_digits
from tests.records import read_records


class Folder:
    """A run folder read without the engine."""

    def __init__(self, folder):
        self.folder = folder
        self.run = RunFolder(folder)
        self.records = read_records(folder)
        self.labels = np.load(folder / "labels.npz")
        config = json.loads((folder / "config.json").read_text())
        self.n_classes = len(config["data"]["classes"])

    def __getitem__(self, name):
        return np.load(self.folder / "arrays" / f"{name}.npy")

    def mix(self, row, sample) -> sample_history.Mix:
        return sample_history.training_mix(self.run, self.records, row, sample)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run whose labels move fast."""
    folder = tmp_path_factory.mktemp("story") / "finished"
    Runner.new(quick_digits(alpha=0.2), folder).run()
    return Folder(folder)


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Runs of other methods, by name."""
    root, made = tmp_path_factory.mktemp("others"), {}
    configs = {
        "ce": quick(method="ce", epochs=3),
        "mixup": quick(method="mixup", epochs=3, warmup=0),
        "plus": quick(method="mixnn-plus", k=3, epochs=3),
        "cold": quick(warmup=0, correction_start=0, k=2, epochs=3, alpha=0.0),
    }
    for name, config in configs.items():
        Runner.new(config, root / name, data=blobs()).run()
        made[name] = Folder(root / name)
    return made


def test_half_of_the_samples_of_mixnn_plus_have_a_random_partner(others):
    mixes = [others["plus"].mix(2, sample) for sample in range(96)]
    kinds = [mix.kind for mix in mixes]
    assert 30 < kinds.count("partner") < 66
    assert kinds.count("partner") + kinds.count("neighbors") == 96
    for mix in mixes:
        assert len(mix.parts) == len(mix.weights) == (2 if mix.kind == "partner" else 4)
        assert mix.weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("row", [2, 3, 5])
@pytest.mark.parametrize("sample", [0, 57, 199])
def test_the_mix_of_an_epoch(done, row, sample):
    mix = done.mix(row, sample)
    k = done.records[row]["n_neighbors"]
    ids = [sample, *done["neighbors"][row, :k, sample]]
    assert mix.kind == "neighbors"
    assert mix.parts.tolist() == ids
    np.testing.assert_array_equal(mix.weights, done["weights"][row, : k + 1, sample])
    np.testing.assert_array_equal(mix.distances[1:], done["distances"][row, :k, sample])
    np.testing.assert_array_equal(mix.clean, done["clean"][row - 1, ids])
    by_hand = sum(w * done["soft"][row - 1, i] for w, i in zip(mix.weights, ids, strict=True))
    np.testing.assert_allclose(mix.label, by_hand, atol=1e-6)
    np.testing.assert_allclose(mix.label.sum(), 1, atol=1e-5)


def test_the_weights_follow_from_p_clean(done):
    """So P(clean) shown is really the one of the epoch before."""
    for sample in range(0, 200, 17):
        mix = done.mix(4, sample)
        own, others = mix.clean[0] + 1e-10, mix.clean[1:]
        expected = np.array([own, *others]) / (own + others.sum())
        np.testing.assert_allclose(mix.weights, expected, atol=1e-5)
        np.testing.assert_allclose(sample_history.mixnn_weights(mix.clean), expected, atol=1e-9)


def test_the_rule_where_nobody_is_clean():
    assert sample_history.mixnn_weights(np.zeros(3)).tolist() == [1, 0, 0]


def test_warm_up_and_first_epoch(done):
    mix = done.mix(0, 5)
    assert (mix.kind, mix.parts.tolist(), mix.weights.tolist()) == ("nothing", [5], [1])
    assert np.isnan(mix.clean).all()
    assert mix.label.tolist() == np.eye(10)[done.labels["given"][5]].tolist()


def test_other_methods(others):
    assert others["ce"].mix(2, 4).kind == "nothing"
    mix = others["mixup"].mix(1, 4)
    assert mix.kind == "partner"
    assert mix.parts[1] == others["mixup"]["neighbors"][1, 0, 4]
    assert np.isnan(mix.distances[1])
    cold = others["cold"].mix(0, 4)  # mixes at once: P(clean) was not estimated before
    assert cold.kind == "neighbors"
    assert np.isnan(cold.clean).all()
    assert cold.soft.tolist() == np.eye(3)[others["cold"].labels["given"][cold.parts]].tolist()


def test_the_mixed_image_by_numpy():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    expected = np.zeros((5, 6, 3))
    for weight, image in zip(weights, images, strict=True):
        expected += weight * image.astype(float)
    np.testing.assert_allclose(sample_history.mixed_image(images, weights), expected, atol=1e-9)
    assert (
        sample_history.mixed_image(images, np.array([1.0, 0, 0, 0])).tolist() == images[0].tolist()
    )


def test_own_weights_are_made_to_add_up(done):
    mix = done.mix(4, 9)
    half = mix.reweighted(np.array([30.0, 10.0]))
    assert half.weights.tolist() == [0.75, 0.25]
    assert half.parts.tolist() == mix.parts[:2].tolist()
    np.testing.assert_allclose(half.label, 0.75 * mix.soft[0] + 0.25 * mix.soft[1])
    assert mix.reweighted(np.zeros(4)).weights.tolist() == [1, 0, 0, 0]


def test_a_smaller_k_has_the_weights_of_the_rule(done):
    mix = done.mix(4, 9)
    assert mix.nearest(0).weights.tolist() == [1]
    np.testing.assert_allclose(mix.nearest(2).weights, sample_history.mixnn_weights(mix.clean[:3]))


def test_candidates_are_the_epochs_own_and_then_the_nearest(done):
    """The panel holds all 200 samples here, so the order must be that of all distances."""
    row, sample = 3, 11
    found = sample_history.mixing_candidates(done.run, done.records, row, sample, 7)
    features = done["panel_features"][row - 1].astype(np.float64)
    distances = np.sqrt(((features - features[sample]) ** 2).sum(1))
    distances[sample] = np.inf
    own = done.mix(row, sample)
    assert found.parts[:4].tolist() == own.parts.tolist()
    expected = [i for i in np.argsort(distances) if i not in own.parts][:4]
    assert found.parts[4:].tolist() == expected
    np.testing.assert_allclose(found.distances[4:], distances[expected], rtol=1e-3)
    np.testing.assert_array_equal(found.clean, done["clean"][row - 1, found.parts])
    np.testing.assert_array_equal(found.soft, done["soft"][row - 1, found.parts].astype(float))
    np.testing.assert_allclose(found.weights, sample_history.mixnn_weights(found.clean))


def test_candidates_outside_the_panel(tmp_path):
    runner = Runner.new(quick_digits(panel_size=40, epochs=3), tmp_path / "run")
    runner.run()
    folder = Folder(tmp_path / "run")
    panel = folder.labels["panel"]
    outside = next(i for i in range(200) if i not in panel)
    alone = sample_history.mixing_candidates(folder.run, folder.records, 2, outside, 7)
    assert alone.parts.tolist() == folder.mix(2, outside).parts.tolist()
    features = folder["panel_features"][1].astype(np.float32)
    found = sample_history.mixing_candidates(
        folder.run, folder.records, 2, outside, 7, features[6] + 1e-3
    )
    assert len(found.parts) == len(set(found.parts.tolist())) == 8
    assert panel[6] in found.parts
    assert set(found.parts[4:]) <= set(panel)
    warm = sample_history.mixing_candidates(folder.run, folder.records, 0, outside, 7)
    assert warm.parts.tolist() == [outside]


def test_candidates_in_the_first_epoch_use_what_it_left(done):
    found = sample_history.mixing_candidates(done.run, done.records, 0, 3, 2)
    assert len(found.parts) == 3
    np.testing.assert_array_equal(found.clean, done["clean"][0, found.parts])


def test_the_history(done):
    sample, n = 23, len(done.records)
    history = sample_history.sample_history(done.run, sample, n)
    corrected = done["soft"][:n, sample].argmax(1)
    before = [done.labels["given"][sample], *corrected[:-1]]
    assert history["label_changed"].tolist() == [
        a != b for a, b in zip(corrected, before, strict=True)
    ]
    for row in range(n):
        for rank in range(history["neighbors"].shape[1]):
            used = rank < done.records[row]["n_neighbors"]
            neighbor = done["neighbors"][row, rank, sample]
            expected = done["soft"][row - 1, neighbor].argmax() if used else -1
            assert history["neighbor_labels"][row, rank] == expected
    assert len(sample_history.sample_history(done.run, sample, 4)["loss"]) == 4


def test_some_label_moves(done):
    n = len(done.records)
    moved = [
        sample_history.sample_history(done.run, sample, n)["label_changed"].any()
        for sample in range(200)
    ]
    changed = (done["soft"][:n].argmax(2) != done.labels["given"]).any(0)
    assert moved == changed.tolist()
    assert any(moved)


def test_a_label_may_move_in_the_first_epoch(others):
    cold = others["cold"]
    moved = [
        sample_history.sample_history(cold.run, sample, 3)["label_changed"][0]
        for sample in range(96)
    ]
    assert moved == (cold["soft"][0].argmax(1) != cold.labels["given"]).tolist()
    assert any(moved)


@pytest.fixture
def fork(done, tmp_path):
    """A fork from epoch 3, next to its parent."""
    (tmp_path / "finished").symlink_to(done.folder)
    runner = Runner.fork(tmp_path / "finished", 3, tmp_path / "fork", k=2)
    runner.run()
    assert runner.status.state == "done", runner.status.error
    return Folder(tmp_path / "fork")


def test_a_fork_begins_with_what_its_parent_left(fork, done):
    mix = fork.mix(0, 8)
    np.testing.assert_array_equal(mix.clean, done["clean"][3, mix.parts])
    np.testing.assert_array_equal(mix.soft, done["soft"][3, mix.parts].astype(float))
    own = mix.clean[0] + 1e-10
    np.testing.assert_allclose(mix.weights[0], own / (own + mix.clean[1:].sum()), atol=1e-5)


def test_a_fork_with_other_noise_begins_with_its_given_labels(done, tmp_path):
    Runner.fork(done.folder, 3, tmp_path / "fork", noise_seed=9).run()
    fork = Folder(tmp_path / "fork")
    mix = fork.mix(0, 8)
    assert mix.soft.tolist() == np.eye(10)[fork.labels["given"][mix.parts]].tolist()
    assert np.isnan(mix.clean).all()


def test_a_fork_whose_parent_is_missing(fork, tmp_path):
    info = json.loads((fork.folder / "config.json").read_text())
    shutil.rmtree(fork.folder / "parent")  # a fork of an earlier version
    info["parent"]["run"] = str(tmp_path / "elsewhere" / "finished")
    (fork.folder / "config.json").write_text(json.dumps(info))
    moved = Folder(fork.folder)
    assert moved.mix(0, 8).parts[0] == 8  # found next to the fork
    (tmp_path / "finished").unlink()
    with pytest.raises(StoreError, match="is a fork of finished, which is missing"):
        moved.mix(0, 8)
    assert moved.mix(1, 8).kind == "neighbors"
    history = sample_history.sample_history(moved.run, 8, 2)
    assert (history["neighbor_labels"][0] == -1).all()
    assert (history["neighbor_labels"][1] >= 0).all()
