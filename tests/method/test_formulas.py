"""Losses, weights and labels against plain NumPy in float64, and at their edges."""

import numpy as np
import pytest
import torch

from engine.config import registry
from engine.method import losses
from engine.method.mixing import mix, mixing_weights, mixup_partners, weighted_sum
from engine.method.soft_labels import align, ema_update, one_hot, refine, relabel, sharpen
from engine.method.votes import neighbor_votes, vote_for

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 3, (12, 5))
TARGETS = RNG.dirichlet(np.ones(5), 12)
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(array).float() for array in arrays]


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (losses.soft_cross_entropy, -(TARGETS * np.log(PROBABILITIES)).sum(1)),
        (losses.linear, -(TARGETS * PROBABILITIES).sum(1)),
        (losses.gce, (TARGETS * (1 - PROBABILITIES**0.7)).sum(1) / 0.7),
        (
            losses.sce,
            -0.1 * (TARGETS * np.log(PROBABILITIES)).sum(1)
            - (PROBABILITIES * np.maximum(np.log(TARGETS), -4)).sum(1),
        ),
    ],
)
def test_losses_against_numpy(loss, expected):
    np.testing.assert_allclose(loss(*tensors(LOGITS, TARGETS)), expected, rtol=2e-5)


def test_sce_of_a_hard_label_counts_log_zero_as_minus_four():
    hard = np.eye(5)[[2] * 12]
    expected = -0.1 * np.log(PROBABILITIES[:, 2]) + 4 * (1 - PROBABILITIES[:, 2])
    np.testing.assert_allclose(losses.sce(*tensors(LOGITS, hard)), expected, rtol=2e-5)


def test_elr_adds_its_regularizer_and_leaves_the_memory_alone():
    memory = RNG.dirichlet(np.ones(5), 12) * 0.7
    clamped = PROBABILITIES.clip(1e-4, 1 - 1e-4)
    expected = -(TARGETS * np.log(PROBABILITIES)).sum(1) + 3 * np.log(1 - (clamped * memory).sum(1))
    logits, targets, kept = tensors(LOGITS, TARGETS, memory)
    kept.requires_grad_()
    value = losses.elr(logits.requires_grad_(), targets, kept, strength=3.0)
    np.testing.assert_allclose(value.detach(), expected, rtol=2e-5)
    value.sum().backward()
    assert kept.grad is None
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize("name", registry.BUILT_IN["losses"])
def test_losses_and_gradients_stay_finite_for_extreme_logits(name):
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    values = registry.function("losses", name)(
        logits,
        torch.eye(2)[[0, 0]],
        q=0.7,
        a=0.1,
        b=1.0,
        memory=torch.full((2, 2), 0.5),
        strength=3.0,
    )
    values.sum().backward()
    assert torch.isfinite(values).all()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("k", [1, 4])
def test_mixing_against_loops(k):
    n = 9
    clean = np.where(np.arange(n) < 6, 1e-7, RNG.random(n))  # so small that the 1e-10 shows
    neighbors = np.stack(
        [RNG.choice(np.delete(np.arange(n), i), k, replace=False) for i in range(n)]
    )
    values = RNG.normal(size=(n, 2, 3))
    weights = np.empty((n, k + 1))
    mixed = np.zeros_like(values)
    for i in range(n):
        total = clean[i] + sum(clean[j] for j in neighbors[i]) + 1e-10
        weights[i] = [(clean[i] + 1e-10) / total, *(clean[j] / total for j in neighbors[i])]
        mixed[i] = weights[i, 0] * values[i]
        for rank, j in enumerate(neighbors[i]):
            mixed[i] += weights[i, rank + 1] * values[j]
    rows = torch.from_numpy(neighbors)
    found = mixing_weights(torch.from_numpy(clean), rows)
    np.testing.assert_allclose(found, weights, rtol=1e-12)
    np.testing.assert_allclose(mix(torch.from_numpy(values), rows, found), mixed, rtol=1e-9)


def test_a_sample_without_any_weight_around_it_keeps_itself():
    neighbors = torch.tensor([[1, 2], [0, 2], [0, 1]])
    for kind in (torch.float32, torch.float64):
        weights = mixing_weights(torch.zeros(3, dtype=kind), neighbors)
        np.testing.assert_array_equal(weights, [[1, 0, 0]] * 3)


def test_a_wrong_sample_is_rewritten_by_its_clean_neighbor():
    weights = mixing_weights(torch.tensor([0.0, 1.0]), torch.tensor([[1], [0]]))
    np.testing.assert_allclose(weights, [[0, 1], [1, 0]], atol=1e-9)


def test_mixing_weights_keep_gradients_out_of_nothing_and_types():
    assert mixing_weights(torch.rand(4).double(), torch.tensor([[1], [0], [3], [2]])).dtype == (
        torch.float64
    )
    parts = torch.arange(8.0).view(2, 2, 2)
    np.testing.assert_array_equal(
        weighted_sum(parts, torch.tensor([[1.0, 0.0], [0.5, 0.5]])), [[0, 1], [5, 6]]
    )


def test_images_are_mixed_as_bytes():
    images = torch.randint(256, (4, 3, 2, 5, 5), dtype=torch.uint8)
    weights = torch.rand(4, 3).softmax(1)
    expected = (images.double() * weights.double()[..., None, None, None]).sum(1)
    mixed = weighted_sum(images, weights)
    assert mixed.dtype == torch.float32
    np.testing.assert_allclose(mixed, expected, rtol=1e-5)


def test_sharpened_predictions_are_surer_and_aligned_ones_keep_every_class():
    p = torch.rand(500, 4).softmax(1) * torch.tensor([3.0, 1, 1, 0.2])
    p = p / p.sum(1, keepdim=True)
    surer = sharpen(p, 0.5)
    np.testing.assert_allclose(surer, p**2 / (p**2).sum(1, keepdim=True), rtol=1e-5)
    assert (surer.max(1).values >= p.max(1).values).all()
    torch.testing.assert_close(sharpen(p, 1.0), p)
    goal = torch.tensor([0.1, 0.2, 0.3, 0.4])
    aligned = align(p, p.mean(0), goal)
    np.testing.assert_allclose(aligned.sum(1), 1, rtol=1e-5)
    assert (aligned.mean(0) - goal).abs().max() < 0.3 * (p.mean(0) - goal).abs().max()
    torch.testing.assert_close(align(p, goal, goal), p)
    assert torch.isfinite(align(p, torch.tensor([0.0, 0.5, 0.5, 0.0]), goal)).all()


def test_mixup_draws_one_weight_for_the_batch_and_a_permutation():
    draws = []
    for seed in range(2000):
        partners, weights = mixup_partners(5, 0.5, np.random.default_rng(seed))
        assert sorted(partners[:, 0].tolist()) == list(range(5))
        assert (weights == weights[0]).all()
        draws.append(float(weights[0, 0]))
    # Beta(a, a): mean 1/2, variance 1 / (4 (2a + 1)) = 1/8
    assert np.mean(draws) == pytest.approx(0.5, abs=0.03)
    assert np.var(draws) == pytest.approx(0.125, abs=0.01)


def test_ema_update_is_a_new_table_whose_rows_sum_to_one():
    soft, seen = tensors(TARGETS, PROBABILITIES)
    before = soft.clone()
    after = ema_update(soft, seen, 0.9)
    np.testing.assert_allclose(after, 0.9 * TARGETS + 0.1 * PROBABILITIES, atol=1e-6)
    np.testing.assert_allclose(after.sum(1), 1, atol=1e-6)
    assert torch.equal(soft, before)
    assert torch.equal(ema_update(soft, seen, 1.0), soft)
    assert torch.equal(ema_update(soft, seen, 0.0), seen)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_ema_update_refuses_alpha_outside_its_range(alpha):
    with pytest.raises(ValueError, match=f"alpha = {alpha}: allowed is 0 to 1"):
        ema_update(torch.eye(2), torch.eye(2), alpha)


def test_one_hot_rows():
    np.testing.assert_array_equal(one_hot(torch.tensor([2, 0]), 3), [[0, 0, 1], [1, 0, 0]])


def test_votes_are_shares_of_the_neighbors_labels_by_class_frequency():
    labels, neighbors = RNG.integers(0, 4, 60), RNG.integers(0, 60, (60, 9))
    votes = neighbor_votes(torch.from_numpy(labels), torch.from_numpy(neighbors), 5)
    expected = np.zeros((60, 5))
    for row, near in enumerate(neighbors):
        for other in near:
            expected[row, labels[other]] += 1 / (labels == labels[other]).sum()
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(votes, expected, atol=1e-6)
    own = vote_for(torch.from_numpy(labels), votes)
    np.testing.assert_allclose(own, expected[range(60), labels] / expected.max(1), atol=1e-6)


def test_a_rare_class_is_not_outvoted_by_a_frequent_one():
    labels = torch.tensor([0] * 20 + [1] * 2)
    neighbors = torch.tensor([[20, 21, 0, 1, 2, 3]])
    assert neighbor_votes(labels, neighbors, 2).argmax() == 1


@pytest.mark.parametrize(
    ("confidence", "vote", "expected"), [(0.95, 1, 1), (0.9, 1, 0), (0.95, 0, 0)]
)
def test_relabel_takes_confident_predictions_that_neighbors_vote_for(confidence, vote, expected):
    given, prediction = torch.tensor([0]), torch.tensor([1])
    votes = one_hot(torch.tensor([vote]), 2)
    sure = torch.tensor([confidence], dtype=torch.float64)
    assert relabel(given, prediction, sure, 0.9, votes).item() == expected
    assert relabel(given, prediction, sure, 0.9).item() == int(confidence > 0.9)


def test_refine_keeps_as_much_of_the_given_label_as_is_likely_clean():
    given, clean = RNG.integers(0, 5, 12), RNG.random(12)
    expected = clean[:, None] * np.eye(5)[given] + (1 - clean[:, None]) * PROBABILITIES
    (probabilities, share), labels = tensors(PROBABILITIES, clean), torch.from_numpy(given)
    np.testing.assert_allclose(refine(probabilities, labels, share), expected, atol=1e-6)


def test_mixing_weights_by_shares():
    clean, neighbors = tensors(RNG.random(6))[0], torch.tensor([[1], [2], [3], [4], [5], [0]])
    shares = tensors(RNG.random((6, 2)))[0]
    own, other = clean * shares[:, 0], clean[neighbors[:, 0]] * shares[:, 1]
    expected = torch.stack([own, other], 1) / (own + other)[:, None]
    torch.testing.assert_close(mixing_weights(clean, neighbors, shares), expected)
