"""Suggested settings, and the estimated time."""

from dataclasses import replace

import pytest
import torch

from engine.analysis import suggestions
from tests.conftest import blobs


def test_settings_go_by_size():
    small = suggestions.suggested_settings(blobs(n=96), mirror=False)
    assert (small.network, small.augment, small.noise) == ("small", "none", "none")
    big = replace(blobs(n=96), name="npz:x", images=torch.zeros(96, 3, 32, 32, dtype=torch.uint8))
    large = suggestions.suggested_settings(big, mirror=False)
    assert (large.network, large.augment) == ("resnet9-w16", "shift")
    assert suggestions.suggested_settings(big, mirror=True).augment == "crop-flip"
    quick = suggestions.suggested_settings(big, mirror=True, thorough=False)
    assert quick.epochs * 2 == large.epochs
    assert quick.warmup < quick.correction_start < quick.epochs
    assert large.dataset == "npz:x"
    rows = replace(big, name="features:x", images=torch.zeros(96, 5, 1, 1))
    table = suggestions.suggested_settings(rows, mirror=False, thorough=False)
    assert (table.network, table.augment, table.epochs) == ("linear", "none", 10)


@pytest.mark.parametrize("n", [6, 600])
def test_the_time_is_estimated_for_all_epochs_and_images(n, monkeypatch):
    data = blobs(n=n, n_test=30)
    config = suggestions.suggested_settings(data, mirror=False)

    class Log:
        seconds = {"training": 2.0, "evaluation": 1.0}

    trained = []
    monkeypatch.setattr(
        "engine.training.train.train",
        lambda config, few: trained.append((config, few)) or [0, Log],
    )
    few_n = min(n, suggestions.N_TIMED_IMAGES)
    expected = config.epochs * (3.0 * n / few_n + 1.0 * 30 / few_n)
    assert suggestions.estimated_seconds(data, config) == pytest.approx(expected)
    short, few = trained[0]
    assert (few.n, short.epochs) == (few_n, 2)


def test_a_few_images_can_really_be_timed():
    data = blobs(n=4)  # fewer than K
    assert (
        0
        < suggestions.estimated_seconds(data, suggestions.suggested_settings(data, mirror=True))
        < 60
    )
