"""The linear classifier that votes on labels it has not seen, and its features."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from engine.config import configure
from engine.data import load_data
from engine.method import leave_one_out as module
from engine.method.leave_one_out import SMALLEST, leave_one_out
from engine.method.noise_estimate import estimate_noise
from engine.method.patch_features import patch_features, standardized
from engine.metrics import auroc


def noisy(labels: np.ndarray, rate: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    given = labels.copy()
    wrong = rng.choice(len(labels), round(rate * len(labels)), replace=False)
    given[wrong] = (labels[wrong] + rng.integers(1, 10, len(wrong))) % 10
    return given


def test_it_predicts_as_fits_without_each_sample_do(monkeypatch):
    monkeypatch.setattr(module, "STRENGTHS", (0.3,))
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 40)
    features = standardized(torch.from_numpy(rng.normal(labels[:, None], 1, (40, 5))))
    found = leave_one_out(features, torch.from_numpy(labels), 3).numpy()
    targets, every = np.eye(3)[labels], features.numpy()
    for row in range(40):
        others = np.arange(40) != row
        fit = Ridge(0.3 * 40).fit(every[others], targets[others])
        alone = fit.predict(every[row : row + 1])[0].clip(SMALLEST)
        np.testing.assert_allclose(found[row], alone / alone.sum(), atol=1e-6)


def test_a_label_cannot_confirm_itself():
    """More features than samples: a fit repeats every label, a prediction without it does not."""
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, 2, 60))
    features = standardized(torch.from_numpy(rng.normal(size=(60, 200))).float())
    hits = (leave_one_out(features, labels, 2).argmax(1) == labels).float().mean()
    assert hits < 0.7


@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_wrong_labels_of_digits_are_ranked_and_counted_without_a_network(rate):
    data = load_data(configure(dataset="digits"))
    features = patch_features(data.images, seed=0)
    assert features.shape[0] == data.n
    assert torch.equal(features, patch_features(data.images, seed=0))
    true = data.labels.numpy()
    given = noisy(true, rate)
    votes = leave_one_out(features, torch.from_numpy(given), 10).numpy()
    assert (votes.argmax(1) == true).mean() > 0.95
    noise = estimate_noise(votes, given)
    assert noise.interval[0] - 1 <= rate * data.n <= noise.interval[1]
    if rate:
        assert auroc(1 - votes[np.arange(data.n), given], given != true) > 0.98


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 40), (3, 64, 48), (1, 8, 500)])
def test_images_of_any_shape_have_features(shape):
    images = torch.randint(256, (12, *shape), dtype=torch.uint8)
    features = patch_features(images)
    assert len(features) == 12
    assert features.isfinite().all()
    flat = patch_features(torch.full((12, *shape), 7, dtype=torch.uint8))
    assert flat.isfinite().all()
