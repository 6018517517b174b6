"""The formulas against numbers recorded from the reference code, within 1e-5."""

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.method import losses
from engine.method.mixing import mix, mixing_weights
from engine.method.mixture import fit_clean_probability, normalize_losses
from engine.method.neighbors import nearest
from engine.method.soft_labels import ema_update, one_hot

TOLERANCE = dict(atol=1e-5, rtol=0)


def as_tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(array))


@pytest.mark.parametrize("case", ["a1", "a2"])
def test_neighbors_weights_and_mixed_images(golden, case):
    features, images = (as_tensor(golden[f"{case}_{name}"]) for name in ("features", "x"))
    neighbors, _ = nearest(features, 1)
    np.testing.assert_array_equal(neighbors[:, 0], golden[f"{case}_index"])
    for kind in (torch.float64, torch.float32):
        clean = as_tensor(golden[f"{case}_clean_prob"]).to(kind)
        weights = mixing_weights(clean, neighbors)
        np.testing.assert_allclose(weights[:, 0], golden[f"{case}_lam"], **TOLERANCE)
        np.testing.assert_allclose(weights.sum(1), 1, **TOLERANCE)
        mixed = mix(images, neighbors, weights.float())
        np.testing.assert_allclose(mixed, golden[f"{case}_mixed"], **TOLERANCE)
    labels = as_tensor(golden[f"{case}_y"])
    np.testing.assert_array_equal(labels[neighbors[:, 0]], golden[f"{case}_y_b"])


@pytest.mark.parametrize("case", ["b1", "b3", "b4", "b5"])
def test_loss_gradient_and_soft_label_update(golden, case):
    g = {key.removeprefix(case + "_"): v for key, v in golden.items() if key.startswith(case)}
    index, partners = as_tensor(g["index"]), as_tensor(g["nn_index"])
    before = as_tensor(g["soft_before"])
    if case in ("b1", "b3"):
        labels = as_tensor(golden["b_noisy_labels"])
        np.testing.assert_array_equal(before, one_hot(labels, 10))
    own = as_tensor(g["lam"]).float().expand(8)
    weights = torch.stack([own, 1 - own], dim=1)
    logits = as_tensor(g["logits"]).clone().requires_grad_()

    soft = before.clone()
    if g["epoch"] >= g["es"] and g["epoch"] % 10 == 0:
        seen = as_tensor(g["logits_ori"]).softmax(1)
        soft[index] = ema_update(soft[index], seen, float(g["momentum"]))
    np.testing.assert_allclose(soft, g["soft_after"], **TOLERANCE)

    if g["epoch"] < g["es"]:
        parts = torch.stack([as_tensor(g["labels_a"]), as_tensor(g["labels_b"])], dim=1)
        targets = (one_hot(parts.flatten(), 10).view(8, 2, 10) * weights[:, :, None]).sum(1)
        loss = losses.linear(logits, targets).mean()
    else:
        targets = mix(soft[index], partners[:, None], weights)
        loss = losses.soft_cross_entropy(logits, targets).mean()
    loss.backward()
    np.testing.assert_allclose(loss.item(), g["loss"], **TOLERANCE)
    np.testing.assert_allclose(logits.grad, g["grad_logits"], **TOLERANCE)


def test_clean_probability(golden):
    logits = as_tensor(golden["c1_logits"][0])
    labels = as_tensor(golden["c1_labels"])
    raw = losses.soft_cross_entropy(logits, one_hot(labels, 10))
    np.testing.assert_allclose(raw, golden["c1_raw_losses_last"], **TOLERANCE)
    scaled = normalize_losses(raw)
    np.testing.assert_allclose(scaled, golden["c1_norm_losses_last"], **TOLERANCE)
    np.testing.assert_allclose(scaled, golden["c1_gmm_input"], **TOLERANCE)

    fit = fit_clean_probability(as_tensor(golden["c1_gmm_input"]), seed=3)
    np.testing.assert_allclose(fit.clean, golden["c1_prob"], **TOLERANCE)
    order = np.argsort(golden["c1_means"])
    np.testing.assert_allclose(fit.means, golden["c1_means"][order], **TOLERANCE)
    np.testing.assert_allclose(fit.stds**2, golden["c1_vars"][order], **TOLERANCE)
    np.testing.assert_allclose(fit.weights, golden["c1_weights"][order], **TOLERANCE)
    assert (fit.n_iter, fit.converged) == (golden["c1_n_iter"], golden["c1_converged"])
    assert fit.warning is None
    # the early stop is part of the answer: this is not the converged one
    assert np.abs(fit.clean.numpy() - golden["c1_prob_converged"]).max() > 0.01
