"""Labels of a run by each noise model, and what a resumed or forked run takes over of them."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from engine import models
from engine.config import LABEL_SETTINGS
from engine.data.base import assemble
from engine.errors import NoiseError
from engine.noise.class_dependent import observed_matrix
from engine.noise.instance_dependent import instance_dependent_noise, margin_noise
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner
from engine.runs.writer import RunWriter
from engine.training import noisy_labels
from engine.training.control import Control, Stopped
from engine.training.noisy_labels import make_noisy_labels, margins_known
from engine.training.train import prepare_state, train
from tests.conftest import blobs, quick


@pytest.fixture
def learned(monkeypatch):
    """How often networks were trained for margins; each time they say the same by the image."""
    monkeypatch.setattr(noisy_labels, "_margins", {})
    calls = []

    def stand_in(data, labels, *, on_progress=None, **_):
        calls.append(data.n)
        if on_progress is not None:
            on_progress(1, 2)
        chances = np.random.default_rng(data.n).dirichlet([1.0] * data.n_classes, data.n)
        return chances.astype(np.float32)

    monkeypatch.setattr(noisy_labels, "cross_val_predict_proba", stand_in)
    return calls


def in_ten_classes(n: int = 60):
    """Images under the name of CIFAR-10, classes in turn."""
    labels = torch.arange(n) % 10
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, 3, 8, 8), np.uint8))
    parts = ((images, labels), (images[:10], labels[:10]), [f"class {c}" for c in range(10)])
    return assemble("cifar10", *parts, true_labels=labels)


@pytest.fixture
def human_labels(monkeypatch, tmp_path):
    """A data folder with human labels of `in_ten_classes`."""
    monkeypatch.setenv("MIXNN_DATA", str(tmp_path))
    clean = np.arange(60) % 10
    worse = (clean + (np.arange(60) % 3 == 0)) % 10
    np.savez(tmp_path / "cifar10n_labels.npz", clean_label=clean, worse_label=worse)
    return worse


def test_instance_noise_looks_at_the_images(data):
    noisy = make_noisy_labels(quick(noise="instance", rate=0.3, seed=4), data)
    mean, std = (values.numpy() for values in data.channel_stats())
    alone = instance_dependent_noise(
        data.labels.numpy(), data.images.numpy(), 0.3, mean=mean, std=std, n_classes=3, seed=4
    )
    np.testing.assert_array_equal(noisy.given, alone.labels)
    np.testing.assert_array_equal(noisy.matrix, alone.matrix)
    assert noisy.rate_requested == 0.3
    assert noisy.rate_actual == (noisy.given != noisy.true).mean()


def test_margins_come_from_networks_that_have_not_seen_the_image(monkeypatch):
    monkeypatch.setattr(noisy_labels, "_margins", {})
    data = blobs(96)
    assert not margins_known(data)
    seen = []
    noisy = make_noisy_labels(
        quick(noise="margin"), data, on_progress=lambda *now: seen.append(now)
    )
    assert margins_known(data)
    assert seen[-1] == (len(seen), len(seen))
    eta = noisy_labels.cross_val_predict_proba(
        data, data.labels.numpy(), n_folds=2, epochs=10, seed=0, threads=1
    )
    alone = margin_noise(data.labels.numpy(), eta, 0.4)
    np.testing.assert_array_equal(noisy.given, alone.labels)
    assert noisy.rate_actual == pytest.approx(0.4, abs=0.15)


def test_margins_are_learned_once_for_a_data_set_whatever_the_settings(data, learned):
    first = make_noisy_labels(quick(noise="margin"), data)
    for settings in (
        {"seed": 3},
        {"rate": 0.1},
        {"margin_type": "III"},
        {"network": "resnet9-w16"},
    ):
        other = make_noisy_labels(quick(noise="margin", **settings), data)
        assert (other.given != first.given).any() or settings == {"network": "resnet9-w16"}
    assert learned == [96]
    for n in (60, 66, 72, 78):
        make_noisy_labels(quick(noise="margin"), blobs(n))
    assert len(noisy_labels._margins) == noisy_labels.MAX_STORED_MARGINS


@pytest.mark.parametrize("noise", ["margin", "instance", "human", "symmetric", "none"])
def test_a_resumed_run_takes_over_its_labels(noise, learned, human_labels, monkeypatch, tmp_path):
    data = in_ten_classes()
    config = quick(noise=noise, dataset="cifar10", epochs=4, augment="none")
    state = prepare_state(config, data)
    steps = train(config, data, state=state)
    next(steps), next(steps)
    torch.save(state.state_dict(), tmp_path / "state.pt")
    whole = list(steps)
    for module, name in ((noisy_labels, "_noise"), (noisy_labels, "cross_val_predict_proba")):
        monkeypatch.setattr(module, name, None)  # nothing is generated again
    packed = torch.load(tmp_path / "state.pt", weights_only=True)
    again = prepare_state(config, data, packed)
    np.testing.assert_array_equal(again.noisy_labels.given, state.noisy_labels.given)
    np.testing.assert_array_equal(again.noisy_labels.matrix, state.noisy_labels.matrix)
    assert again.noisy_labels.rate_requested == state.noisy_labels.rate_requested
    rest = list(train(config, data, state=again))
    np.testing.assert_array_equal(rest[-1].soft, whole[-1].soft)
    np.testing.assert_array_equal(rest[-1].loss, whole[-1].loss)


@pytest.mark.parametrize(
    "change",
    [
        {"rate": 0.7},
        {"noise_seed": 9},
        {"seed": 9},
        {"margin_type": "II"},
        {"noise": "pair"},
        {"noise": "matrix", "noise_matrix": [[0, 1, 0], [0, 0, 1], [1, 0, 0]]},
    ],
)
def test_other_noise_is_posed_anew(data, learned, change):
    config = quick(noise="margin", rate=0.4, epochs=4)
    state = prepare_state(config, data)
    next(train(config, data, state=state))
    other = config.changed(**change)
    forked = prepare_state(other, data, state.state_dict())
    np.testing.assert_array_equal(forked.noisy_labels.given, make_noisy_labels(other, data).given)
    assert (forked.noisy_labels.given != state.noisy_labels.given).any()
    np.testing.assert_array_equal(forked.soft.argmax(1), forked.noisy_labels.given)


def test_a_seed_without_effect_on_noise_keeps_the_labels(data, learned):
    state = prepare_state(quick(noise="margin", seed=1), data)
    forked = prepare_state(
        quick(noise="margin", seed=2, noise_seed=1, k=2), data, state.state_dict()
    )
    np.testing.assert_array_equal(forked.noisy_labels.given, state.noisy_labels.given)
    assert len(learned) == 1


def test_what_was_packed_before_noise_was_kept_is_posed_anew(data):
    state = prepare_state(quick(), data)
    old = {name: value for name, value in state.state_dict().items() if name != "matrix"}
    again = prepare_state(quick(), data, old)
    np.testing.assert_array_equal(again.noisy_labels.given, state.noisy_labels.given)


def test_every_knob_of_the_noise_fixes_the_labels():
    """A setting of data or noise that LABEL_SETTINGS lacks would leave old labels in place."""
    names = list(quick().model_dump())
    label_settings = names[: names.index("mixing")]  # settings.py lists data and noise first
    assert set(LABEL_SETTINGS) | {"noise_seed"} == set(label_settings)


def test_a_run_on_disk_is_resumed_and_forked_with_its_labels(data, learned, tmp_path):
    config = quick(noise="margin", epochs=3, seed=1)
    runner = Runner.new(config, tmp_path / "run", data=data)
    runner.run()
    assert runner.status.state == "done", runner.status.error
    given = RunFolder(tmp_path / "run").labels["given"]
    noisy_labels._margins.clear()  # as after a restart
    learned.clear()
    for name, settings in (("same", {}), ("other", {"rate": 0.8})):
        forked = Runner.fork(tmp_path / "run", 1, tmp_path / name, data=data, epochs=4, **settings)
        forked.run()
        assert forked.status.state == "done", forked.status.error
    same, other = (RunFolder(tmp_path / name).labels for name in ("same", "other"))
    np.testing.assert_array_equal(same["given"], given)
    np.testing.assert_array_equal(same["matrix"], RunFolder(tmp_path / "run").labels["matrix"])
    assert (other["given"] != given).any()
    assert learned == [96], "for the other rate only"


def test_a_run_stopped_before_its_first_epoch_keeps_its_labels(
    data, learned, tmp_path, monkeypatch
):
    """Its folder says which labels it has: training for margins again could give others."""
    config = quick(noise="margin", epochs=2)
    writer = RunWriter.create(tmp_path / "run", prepare_state(config, data))
    writer.close()
    noisy_labels._margins.clear()
    monkeypatch.setattr(noisy_labels, "cross_val_predict_proba", None)
    runner = Runner.resume(tmp_path / "run", data=data)
    runner.run()
    assert runner.status.state == "done", runner.status.error
    run = RunFolder(tmp_path / "run")
    first = np.where(run.array("soft")[0].max(1) == 1, run.array("soft")[0].argmax(1), -1)
    np.testing.assert_array_equal(first, run.labels["given"])  # no label is corrected in epoch 0


def test_a_run_can_be_stopped_while_margins_are_learned(data, learned, tmp_path):
    control = Control()
    control.stop()
    with pytest.raises(Stopped):
        prepare_state(quick(noise="margin"), data, control=control)
    assert control.progress.stage == "margins"
    assert not margins_known(data)
    runner = Runner.new(quick(noise="margin"), tmp_path / "run", data=data)
    runner.stop()
    runner.run()
    assert runner.status.state == "stopped"


@pytest.mark.parametrize("cores", [1, 2, 8])
def test_margins_do_not_depend_on_the_cores_of_the_machine(cores, monkeypatch):
    monkeypatch.setattr(noisy_labels, "_margins", {})
    monkeypatch.setattr("engine.hardware._THREADS", cores)
    monkeypatch.setattr("engine.hardware.cores", lambda: cores)
    counts, build = [], models.build

    def watched(*arguments, **settings):
        counts.append(torch.get_num_threads())
        return build(*arguments, **settings)

    monkeypatch.setattr(models, "build", watched)
    monkeypatch.setattr(models, "choose", lambda *_: "resnet9-w16")
    monkeypatch.setattr(noisy_labels, "MARGIN_EPOCHS", 1)
    make_noisy_labels(quick(noise="margin"), blobs(24))
    assert set(counts) == {2}


class Behind:
    """A second run that needs the margins while a first one trains them."""

    def __init__(self, data):
        self.control, self.error = Control(), None
        self._thread = threading.Thread(target=self._run, args=(data,))
        self._thread.start()

    def _run(self, data):
        try:
            self.given = make_noisy_labels(
                quick(noise="margin"),
                data,
                on_progress=lambda *n: self.control.report_progress(0, "margins", *n),
            ).given
        except Exception as error:
            self.error = error

    def join(self):
        self._thread.join(10)
        assert not self._thread.is_alive()


def test_a_run_that_waits_for_margins_can_be_stopped(data, learned):
    def on_progress(*_):
        second = Behind(data)
        second.control.stop()
        second.join()
        assert isinstance(second.error, Stopped)

    make_noisy_labels(quick(noise="margin"), data, on_progress=on_progress)
    assert learned == [96]


def test_margins_of_one_data_set_do_not_wait_for_those_of_another(data, learned):
    def on_progress(*_):
        second = Behind(blobs(60))
        second.join()
        assert second.error is None

    make_noisy_labels(quick(noise="margin"), data, on_progress=on_progress)
    assert learned == [96, 60]


def test_the_next_run_starts_over_when_the_first_one_fails(data, learned):
    waiting = []

    def on_progress(*_):
        waiting.append(Behind(data))
        while waiting[0].control.progress.stage != "margins":
            time.sleep(0.01)
        raise Stopped

    with pytest.raises(Stopped):
        make_noisy_labels(quick(noise="margin"), data, on_progress=on_progress)
    waiting[0].join()
    assert waiting[0].error is None
    assert learned == [96, 96]
    np.testing.assert_array_equal(
        waiting[0].given, make_noisy_labels(quick(noise="margin"), data).given
    )
    assert learned == [96, 96]


def test_human_labels_follow_the_images(human_labels):
    config = quick(noise="human", dataset="cifar10")
    noisy = make_noisy_labels(config, in_ten_classes())
    np.testing.assert_array_equal(noisy.given, human_labels)
    assert noisy.rate_requested == noisy.rate_actual == pytest.approx(1 / 3)
    np.testing.assert_array_equal(
        noisy.matrix, observed_matrix(np.arange(60) % 10, human_labels, 10)
    )
    rows = np.array([0, 1, 5, 33, 47])
    subset = make_noisy_labels(config.changed(limit=10), in_ten_classes().subset(rows))
    np.testing.assert_array_equal(subset.given, human_labels[rows])


def test_human_labels_that_do_not_fit_are_refused(human_labels):
    config = quick(noise="human", dataset="cifar10")
    data = in_ten_classes()
    turned = replace(data, labels=data.labels.flip(0), true_labels=data.labels.flip(0))
    with pytest.raises(NoiseError, match="not in the order of the images"):
        make_noisy_labels(config, turned)
    with pytest.raises(NoiseError, match="60 human labels but 50 images"):
        make_noisy_labels(config, in_ten_classes(50))
    with pytest.raises(NoiseError, match="'aggre' with cifar10: .* contains worse"):
        make_noisy_labels(config.changed(human_labels="aggre"), data)
    with pytest.raises(NoiseError, match="no human labels of cifar100: put"):
        make_noisy_labels(quick(noise="human", dataset="cifar100"), data)
    with pytest.raises(NoiseError, match="no published human labels of 'digits'"):
        make_noisy_labels(quick(noise="human"), blobs())
