"""Labels of a run by each noise model, and what a resumed or forked run takes over of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine import problem
from engine.config import LABEL_SETTINGS
from engine.control import Control, Stopped
from engine.data.base import assemble
from engine.errors import NoiseError
from engine.noise import observed_matrix
from engine.problem import margins_known, pose
from engine.runner import Runner
from engine.spoil import corrupt_by_image, corrupt_by_margin
from engine.state import State
from engine.store import Run
from engine.train import train
from engine.writer import RunWriter
from tests.conftest import blobs, quick


@pytest.fixture
def learned(monkeypatch):
    """How often networks were trained for margins; each time they say the same by the image."""
    monkeypatch.setattr(problem, "_margins", {})
    calls = []

    def stand_in(data, labels, *, tick=None, **_):
        calls.append(data.n)
        if tick is not None:
            tick(1, 2)
        chances = np.random.default_rng(data.n).dirichlet([1.0] * data.n_classes, data.n)
        return chances.astype(np.float32)

    monkeypatch.setattr(problem, "out_of_fold", stand_in)
    return calls


def in_ten_classes(n: int = 60):
    """Images under the name of CIFAR-10, classes in turn."""
    labels = torch.arange(n) % 10
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, 3, 8, 8), np.uint8))
    parts = ((images, labels), (images[:10], labels[:10]), [f"class {c}" for c in range(10)])
    return assemble("cifar10", *parts, true_labels=labels)


@pytest.fixture
def people(monkeypatch, tmp_path):
    """A data folder with labels that people gave of `in_ten_classes`."""
    monkeypatch.setenv("MIXNN_DATA", str(tmp_path))
    clean = np.arange(60) % 10
    worse = (clean + (np.arange(60) % 3 == 0)) % 10
    np.savez(tmp_path / "cifar10n_labels.npz", clean_label=clean, worse_label=worse)
    return worse


def test_instance_noise_looks_at_the_images(data):
    posed = pose(quick(noise="instance", rate=0.3, seed=4), data)
    mean, std = (values.numpy() for values in data.channel_stats())
    alone = corrupt_by_image(
        data.labels.numpy(), data.images.numpy(), 0.3, mean=mean, std=std, n_classes=3, seed=4
    )
    np.testing.assert_array_equal(posed.given, alone.labels)
    np.testing.assert_array_equal(posed.matrix, alone.matrix)
    assert posed.rate_requested == 0.3
    assert posed.rate_actual == (posed.given != posed.true).mean()


def test_margins_come_from_networks_that_have_not_seen_the_image(monkeypatch):
    monkeypatch.setattr(problem, "_margins", {})
    data = blobs(96)
    assert not margins_known(data)
    seen = []
    posed = pose(quick(noise="margin"), data, tick=lambda *now: seen.append(now))
    assert margins_known(data)
    assert seen[-1] == (len(seen), len(seen))
    eta = problem.out_of_fold(data, data.labels.numpy(), **problem.MARGIN_FOLDS)
    alone = corrupt_by_margin(data.labels.numpy(), eta, 0.4)
    np.testing.assert_array_equal(posed.given, alone.labels)
    assert posed.rate_actual == pytest.approx(0.4, abs=0.15)


def test_margins_are_learned_once_for_a_data_set_whatever_the_settings(data, learned):
    first = pose(quick(noise="margin"), data)
    for knobs in ({"seed": 3}, {"rate": 0.1}, {"margin_type": "III"}, {"network": "resnet9-w16"}):
        other = pose(quick(noise="margin", **knobs), data)
        assert (other.given != first.given).any() or knobs == {"network": "resnet9-w16"}
    assert learned == [96]
    for n in (60, 66, 72, 78):
        pose(quick(noise="margin"), blobs(n))
    assert len(problem._margins) == problem.MOST_MARGINS


@pytest.mark.parametrize("noise", ["margin", "instance", "human", "symmetric", "none"])
def test_a_resumed_run_takes_over_its_labels(noise, learned, people, monkeypatch, tmp_path):
    data = in_ten_classes()
    config = quick(noise=noise, dataset="cifar10", epochs=4, augment="none")
    state = State(config, data)
    steps = train(config, data, state=state)
    next(steps), next(steps)
    torch.save(state.pack(), tmp_path / "state.pt")
    whole = list(steps)
    for module, name in ((problem, "_spoiled"), (problem, "out_of_fold")):
        monkeypatch.setattr(module, name, None)  # nothing is made anew
    packed = torch.load(tmp_path / "state.pt", weights_only=True)
    again = State(config, data, packed)
    np.testing.assert_array_equal(again.problem.given, state.problem.given)
    np.testing.assert_array_equal(again.problem.matrix, state.problem.matrix)
    assert again.problem.rate_requested == state.problem.rate_requested
    rest = list(train(config, data, state=again))
    np.testing.assert_array_equal(rest[-1].soft, whole[-1].soft)
    np.testing.assert_array_equal(rest[-1].loss, whole[-1].loss)


@pytest.mark.parametrize(
    "change",
    [
        {"rate": 0.7}, {"noise_seed": 9}, {"seed": 9}, {"margin_type": "II"}, {"noise": "pair"},
        {"noise": "matrix", "noise_matrix": [[0, 1, 0], [0, 0, 1], [1, 0, 0]]},
    ],
)  # fmt: skip
def test_other_noise_is_posed_anew(data, learned, change):
    config = quick(noise="margin", rate=0.4, epochs=4)
    state = State(config, data)
    next(train(config, data, state=state))
    other = config.changed(**change)
    forked = State(other, data, state.pack())
    np.testing.assert_array_equal(forked.problem.given, pose(other, data).given)
    assert (forked.problem.given != state.problem.given).any()
    np.testing.assert_array_equal(forked.soft.argmax(1), forked.problem.given)


def test_a_seed_that_does_not_spoil_keeps_the_labels(data, learned):
    state = State(quick(noise="margin", seed=1), data)
    forked = State(quick(noise="margin", seed=2, noise_seed=1, k=2), data, state.pack())
    np.testing.assert_array_equal(forked.problem.given, state.problem.given)
    assert len(learned) == 1


def test_what_was_packed_before_noise_was_kept_is_posed_anew(data):
    state = State(quick(), data)
    old = {name: value for name, value in state.pack().items() if name != "matrix"}
    np.testing.assert_array_equal(State(quick(), data, old).problem.given, state.problem.given)


def test_every_knob_of_the_noise_fixes_the_labels():
    """A setting of data or noise that LABEL_SETTINGS lacks would leave old labels in place."""
    knobs = list(quick().model_dump())
    of_labels = knobs[: knobs.index("mixing")]  # config.py lists data and noise first
    assert set(LABEL_SETTINGS) | {"noise_seed"} == set(of_labels)


def test_a_run_on_disk_is_resumed_and_forked_with_its_labels(data, learned, tmp_path):
    config = quick(noise="margin", epochs=3, seed=1)
    runner = Runner.new(config, tmp_path / "run", data=data)
    runner.run()
    assert runner.status.state == "done", runner.status.error
    given = Run(tmp_path / "run").labels["given"]
    problem._margins.clear()  # as after a restart
    learned.clear()
    for name, knobs in (("same", {}), ("other", {"rate": 0.8})):
        forked = Runner.fork(tmp_path / "run", 1, tmp_path / name, data=data, epochs=4, **knobs)
        forked.run()
        assert forked.status.state == "done", forked.status.error
    same, other = (Run(tmp_path / name).labels for name in ("same", "other"))
    np.testing.assert_array_equal(same["given"], given)
    np.testing.assert_array_equal(same["matrix"], Run(tmp_path / "run").labels["matrix"])
    assert (other["given"] != given).any()
    assert learned == [96], "for the other rate only"


def test_a_run_stopped_before_its_first_epoch_keeps_its_labels(
    data, learned, tmp_path, monkeypatch
):
    """Its folder says which labels it has: learning margins anew could give others."""
    config = quick(noise="margin", epochs=2)
    writer = RunWriter.create(tmp_path / "run", State(config, data))
    writer.close()
    problem._margins.clear()
    monkeypatch.setattr(problem, "out_of_fold", None)
    runner = Runner.resume(tmp_path / "run", data=data)
    runner.run()
    assert runner.status.state == "done", runner.status.error
    run = Run(tmp_path / "run")
    first = np.where(run.array("soft")[0].max(1) == 1, run.array("soft")[0].argmax(1), -1)
    np.testing.assert_array_equal(first, run.labels["given"])  # no label is corrected in epoch 0


def test_a_run_can_be_stopped_while_margins_are_learned(data, learned, tmp_path):
    control = Control()
    control.stop()
    with pytest.raises(Stopped):
        State(quick(noise="margin"), data, control=control)
    assert control.progress.stage == "margins"
    assert not margins_known(data)
    runner = Runner.new(quick(noise="margin"), tmp_path / "run", data=data)
    runner.stop()
    runner.run()
    assert runner.status.state == "stopped"


def test_human_labels_follow_the_images(people):
    config = quick(noise="human", dataset="cifar10")
    posed = pose(config, in_ten_classes())
    np.testing.assert_array_equal(posed.given, people)
    assert posed.rate_requested == posed.rate_actual == pytest.approx(1 / 3)
    np.testing.assert_array_equal(posed.matrix, observed_matrix(np.arange(60) % 10, people, 10))
    rows = np.array([0, 1, 5, 33, 47])
    subset = pose(config.changed(limit=10), in_ten_classes().subset(rows))
    np.testing.assert_array_equal(subset.given, people[rows])


def test_human_labels_that_do_not_fit_are_refused(people):
    config = quick(noise="human", dataset="cifar10")
    data = in_ten_classes()
    turned = replace(data, labels=data.labels.flip(0), true_labels=data.labels.flip(0))
    with pytest.raises(NoiseError, match="not in the order of the images"):
        pose(config, turned)
    with pytest.raises(NoiseError, match="60 human labels but 50 images"):
        pose(config, in_ten_classes(50))
    with pytest.raises(NoiseError, match="'aggre' with cifar10: .* holds worse"):
        pose(config.changed(human_labels="aggre"), data)
    with pytest.raises(NoiseError, match="no human labels of cifar100 are here: lay"):
        pose(quick(noise="human", dataset="cifar100"), data)
    with pytest.raises(NoiseError, match="nobody published human labels of 'digits'"):
        pose(quick(noise="human"), blobs())
