"""Which settings have an effect, against training itself."""

import numpy as np
import pytest

from engine.config.rules import unused_settings
from engine.training.train import train
from tests.conftest import blobs, quick

DATA = blobs(n=48, n_test=12)
OTHER = dict(k=4, alpha=0.1, correction_start=2, mixup_beta=3.0, sharpen=0.5, gce_q=0.3)


def losses(**settings) -> np.ndarray:
    *_, last = train(quick(**dict(epochs=3, k=2, noise="symmetric", rate=0.4) | settings), DATA)
    return last.loss


@pytest.mark.parametrize(
    "method", ["ce", *(pytest.param(m, marks=pytest.mark.slow) for m in ("mixnn", "mixup", "gce"))]
)
def test_exactly_the_used_settings_change_a_run(method):
    config, usual = quick(method=method, epochs=3, k=2), losses(method=method, correction_start=1)
    for setting, value in OTHER.items():
        changed = losses(method=method, **{"correction_start": 1, setting: value})
        same = np.array_equal(usual, changed)
        assert same == (setting in unused_settings(config)), setting


def test_the_noise_rate_of_no_noise_has_no_effect():
    unused = unused_settings(quick(noise="none"))
    assert {"rate", "noise_seed", "noise_matrix", "margin_type", "human_labels"} <= unused
    assert "rate" not in unused_settings(quick(noise="symmetric"))
