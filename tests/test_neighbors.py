"""Neighbors against brute force in float64, and the approximate search by its recall."""

import numpy as np
import pytest
import torch

from engine import neighbors
from engine.neighbors import nearest


def clustered(n: int, d: int, *, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    centers = rng.normal(0, 2, (10, d))
    return torch.from_numpy(centers[rng.integers(10, size=n)] + rng.normal(size=(n, d))).float()


def brute_force(features: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    points = features.double().numpy()
    distances = np.sqrt(((points[:, None] - points[None]) ** 2).sum(2))
    np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, 1)


@pytest.mark.parametrize("offset", [0.0, 3000.0])
def test_exact_search_is_brute_force(offset, monkeypatch):
    monkeypatch.setattr(neighbors, "CHUNK", 7 * 500)  # many chunks, the last one smaller
    features = clustered(500, 16) + offset  # far from the origin a naive product loses digits
    indices, distances = nearest(features, 7, backend="exact")
    expected, lengths = brute_force(features, 7)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(distances, lengths, rtol=1e-3)
    assert (indices.dtype, distances.dtype) == (torch.int64, torch.float32)


@pytest.mark.parametrize("d", [8, 128])
def test_hnsw_recall_and_order(d):
    features = clustered(3000, d)
    exact, _ = nearest(features, 10, backend="exact")
    found, distances = nearest(features, 10, backend="hnsw")
    hits = [len(set(a) & set(b)) for a, b in zip(exact.tolist(), found.tolist(), strict=True)]
    assert np.mean(hits) / 10 > 0.95
    assert (distances.diff(dim=1) >= -1e-4).all()


@pytest.mark.parametrize("backend", ["exact", "hnsw"])
def test_never_itself_also_among_duplicates(backend):
    features = clustered(200, 6)
    features[50:90] = features[50]
    features[120] = features[121]
    indices, distances = nearest(features, 5, backend=backend)
    assert (indices != torch.arange(200)[:, None]).all()
    assert all(len(set(row)) == 5 for row in indices.tolist())
    assert distances[50:90].max() == 0
    assert indices[120, 0] == 121
    assert indices[121, 0] == 120


@pytest.mark.parametrize("backend", ["exact", "hnsw"])
def test_all_samples_equal(backend):
    indices, distances = nearest(torch.ones(40, 3), 4, backend=backend)
    assert (indices != torch.arange(40)[:, None]).all()
    assert distances.max() == 0


def test_hnsw_repeats_itself():
    features = torch.rand(2000, 200, generator=torch.Generator().manual_seed(0))  # hard to search
    first, *others = (nearest(features, 5, backend="hnsw", seed=4)[0] for _ in range(3))
    assert all(torch.equal(first, other) for other in others)


def test_auto_goes_by_size_and_device(monkeypatch):
    asked = []
    monkeypatch.setattr(neighbors, "_hnsw", lambda f, k, seed: asked.append("hnsw") or _any(f, k))
    monkeypatch.setattr(neighbors, "_exact", lambda f, k, seed: asked.append("exact") or _any(f, k))
    monkeypatch.setattr(neighbors, "HNSW_FROM", 100)
    nearest(torch.rand(99, 2), 1)
    nearest(torch.rand(100, 2), 1)
    nearest(torch.rand(100, 512), 1)
    assert asked == ["exact", "hnsw", "exact"]


def _any(features: torch.Tensor, k: int) -> torch.Tensor:
    return torch.zeros(len(features), k, dtype=torch.int64)


def test_k_up_to_all_the_others():
    indices, _ = nearest(torch.rand(5, 2), 4)
    assert [sorted(row) for row in indices.tolist()] == [
        [j for j in range(5) if j != i] for i in range(5)
    ]


@pytest.mark.parametrize("k", [0, 5, 9])
def test_k_that_no_sample_can_have_is_refused(k):
    with pytest.raises(ValueError, match=f"k = {k}: allowed is 1 to 4, since 5 samples"):
        nearest(torch.rand(5, 2), k)


def test_bad_features_and_backends_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        nearest(torch.full((4, 2), float("nan")), 1)
    with pytest.raises(ValueError, match=r"\(4,\)"):
        nearest(torch.rand(4), 1)
    with pytest.raises(ValueError, match="'annoy'.*auto, exact, hnsw"):
        nearest(torch.rand(4, 2), 1, backend="annoy")
