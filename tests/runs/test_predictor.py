"""Predictions of a stored network: those of training, and of images outside any data set."""

import json

import numpy as np
import pytest
import torch

from engine.errors import DataError, StoreError
from engine.runs.folder import RunFolder
from engine.runs.predictor import channel_stats, load_predictor, predict_proba
from engine.runs.runner import Runner
from tests.conftest import blobs, quick


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of five epochs that keeps the networks of 0, 2 and 4, and its data."""
    data, folder = blobs(), tmp_path_factory.mktemp("ask") / "run"
    runner = Runner.new(quick(k=2, state_interval=2), folder, data=data)
    runner.run()
    assert runner.status.state == "done", runner.status.error
    return RunFolder(folder), data


@pytest.mark.parametrize("epoch", [0, 2, 4])
def test_it_says_what_the_snapshot_says(finished, epoch):
    run, data = finished
    probabilities, features = predict_proba(run, epoch, data.images)
    assert probabilities.dtype == features.dtype == np.float32
    np.testing.assert_array_equal(probabilities.argmax(1), run.array("prediction")[epoch])
    np.testing.assert_allclose(probabilities.max(1), run.array("confidence")[epoch], atol=1e-4)
    panel = run.labels["panel"]
    np.testing.assert_allclose(
        features[panel], run.array("panel_features")[epoch], rtol=2e-3, atol=2e-3
    )


@pytest.mark.parametrize(
    "settings", [dict(precision="bf16"), dict(weight_ema=0.9, flip_average="all")]
)
def test_other_networks_predict_what_the_snapshot_has(settings, tmp_path):
    data = blobs(48)
    Runner.new(quick(k=1, epochs=3, **settings), tmp_path / "run", data=data).run()
    run = RunFolder(tmp_path / "run")
    probabilities, _ = predict_proba(run, 2, data.images)
    np.testing.assert_allclose(probabilities.max(1), run.array("confidence")[2], atol=1e-4)


def test_floats_are_pixels_too_and_batches_change_nothing(finished):
    run, data = finished
    network = load_predictor(run, 4)
    whole, _ = network.predict_proba(data.images)
    as_floats, _ = network.predict_proba(data.images.numpy().astype(np.float64))
    one, _ = network.predict_proba(data.images[7:8])
    np.testing.assert_allclose(as_floats, whole, atol=1e-5)
    np.testing.assert_allclose(one[0], whole[7], atol=1e-5)
    between, _ = network.predict_proba((data.images[:1].float() + data.images[1:2].float()) / 2)
    assert np.abs(between[0] - whole[0]).max() > 1e-3


def test_the_channel_stats_stand_in_the_folder(finished):
    run, data = finished
    for kept, counted in zip(channel_stats(run), data.channel_stats(), strict=True):
        assert torch.equal(kept, counted)


def test_an_older_folder_needs_its_images(finished, tmp_path, monkeypatch):
    run, data = finished
    info = json.loads((run.folder / "config.json").read_text())
    del info["data"]["mean"], info["data"]["std"]
    (tmp_path / "config.json").write_text(json.dumps(info))
    older = RunFolder(tmp_path)
    monkeypatch.setattr("engine.runs.predictor.load_data", lambda config: data)
    assert torch.equal(channel_stats(older)[0], data.channel_stats()[0])
    monkeypatch.setattr("engine.runs.predictor.load_data", lambda config: blobs(seed=5))
    with pytest.raises(StoreError, match="have changed since it was trained"):
        channel_stats(older)

    def gone(config):
        raise DataError("it is not there")

    monkeypatch.setattr("engine.runs.predictor.load_data", gone)
    with pytest.raises(DataError, match="not there"):
        channel_stats(older)


def test_an_epoch_that_is_not_kept_names_those_that_are(finished):
    run, data = finished
    with pytest.raises(StoreError, match=r"epoch = 3: .* keeps the network of 0, 2, 4"):
        predict_proba(run, 3, data.images)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.zeros(2, 3, 8, 8), r"\(2, 3, 8, 8\): allowed is \(B, 1, 8, 8\)"),
        (torch.zeros(1, 8, 8), r"\(1, 8, 8\): allowed"),
        (torch.zeros(0, 1, 8, 8), r"\(0, 1, 8, 8\): allowed"),
        (torch.full((1, 1, 8, 8), 256.0), "to 256: allowed is 0 to 255"),
        (torch.full((1, 1, 8, 8), -1.0), "from -1"),
        (torch.full((1, 1, 8, 8), torch.nan), "nan"),
    ],
)
def test_images_that_cannot_be_asked_about(finished, images, words):
    with pytest.raises(ValueError, match=words):
        predict_proba(finished[0], 4, images)
