"""Neighbors against brute force in float64, and the approximate search by its recall."""

import numpy as np
import pytest
import torch

from engine.method import neighbors
from engine.method.neighbors import nearest


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


def recall(found: torch.Tensor, exact: torch.Tensor) -> float:
    return (found[:, :, None] == exact[:, None, :]).any(2).float().mean().item()


@pytest.mark.parametrize("offset", [0.0, 3000.0])
@pytest.mark.parametrize("block", [4, 64])  # small enough to matter here, and too large
def test_exact_search_is_brute_force(offset, block, monkeypatch):
    monkeypatch.setattr(neighbors, "BLOCK_COLUMNS", block)
    # many chunks, the last one smaller
    monkeypatch.setattr(neighbors, "CHUNK_ENTRIES", {"cpu": 7 * 500})
    features = clustered(500, 16) + offset  # far from the origin a naive product loses digits
    indices, distances = nearest(features, 7, backend="exact")
    expected, lengths = brute_force(features, 7)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(distances, lengths, rtol=1e-3)
    assert (indices.dtype, distances.dtype) == (torch.int64, torch.float32)


def test_of_equal_distances_the_lower_index_is_first():
    features = torch.arange(300.0)[:, None]  # each between two others at distance 1
    indices, _ = nearest(features, 2, backend="exact")
    assert indices[1:-1].tolist() == [[i - 1, i + 1] for i in range(1, 299)]


def test_least_scores_in_blocks_are_those_of_a_full_sort():
    scores = torch.rand(
        50, 40 * neighbors.BLOCK_COLUMNS, generator=torch.Generator().manual_seed(0)
    )
    scores[7, 64:73] = scores[7, 64:73] - 1  # all in one block
    found = neighbors._least(scores, 9).sort(dim=1).values
    np.testing.assert_array_equal(found, scores.argsort(dim=1)[:, :9].sort(dim=1).values)


@pytest.mark.parametrize("d", [8, 128])
@pytest.mark.parametrize("backend", ["ivf", "hnsw"])
def test_approximate_search_by_recall_and_order(backend, d, monkeypatch):
    features = clustered(3000, d)
    exact, _ = nearest(features, 10, backend="exact")
    monkeypatch.setattr(neighbors, "_exact", None)  # and the approximation does not lean on it
    found, distances = nearest(features, 10, backend=backend)
    assert recall(found, exact) > 0.98
    assert (distances.diff(dim=1) >= 0).all()
    length = (features[:, None] - features[found]).double().square().sum(2).sqrt()
    np.testing.assert_allclose(distances, length, rtol=1e-5)


def test_ivf_asks_more_clusters_where_the_features_need_it():
    features = torch.rand(3000, 6, generator=torch.Generator().manual_seed(0))  # no clusters
    exact, _ = nearest(features, 5, backend="exact")
    found, _ = nearest(features, 5, backend="ivf")
    assert 0.98 < recall(found, exact) < 1  # and not by exact search


def test_ivf_with_clusters_that_no_sample_is_in(monkeypatch):
    monkeypatch.setattr(neighbors, "_exact", None)
    features = torch.arange(20.0).repeat(100)[:, None]  # 20 places for 44 clusters
    indices, distances = nearest(features, 5, backend="ivf")
    assert (indices % 20 == torch.arange(2000)[:, None] % 20).all()
    assert (indices != torch.arange(2000)[:, None]).all()
    assert distances.max() == 0


def test_ivf_turns_to_exact_search_where_neighbors_lie_everywhere():
    features = torch.randn(2000, 300, generator=torch.Generator().manual_seed(0))
    exact, expected = nearest(features, 5, backend="exact")
    found, distances = nearest(features, 5, backend="ivf")
    assert torch.equal(found, exact)
    assert torch.equal(distances, expected)


@pytest.mark.parametrize("backend", ["exact", "ivf", "hnsw"])
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


@pytest.mark.parametrize("backend", ["exact", "ivf", "hnsw"])
def test_all_samples_equal(backend):
    indices, distances = nearest(torch.ones(40, 3), 4, backend=backend)
    assert (indices != torch.arange(40)[:, None]).all()
    assert distances.max() == 0


@pytest.mark.parametrize("backend", ["ivf", "hnsw"])
def test_approximate_search_repeats_itself(backend):
    # hard to search by hnsw
    features = torch.rand(
        2000, 200 if backend == "hnsw" else 8, generator=torch.Generator().manual_seed(0)
    )
    first, *others = (nearest(features, 5, backend=backend, seed=4)[0] for _ in range(3))
    assert all(torch.equal(first, other) for other in others)


def test_auto_goes_by_size(monkeypatch):
    used = []
    for name in ("exact", "ivf", "hnsw"):
        monkeypatch.setattr(
            neighbors, f"_{name}", lambda f, k, seed, name=name: used.append(name) or _any(f, k)
        )
    monkeypatch.setattr(neighbors, "IVF_FROM", 100)
    monkeypatch.setattr(neighbors, "HNSW_FROM", 200)
    for n in (99, 100, 199, 200):
        nearest(torch.rand(n, 2), 1)
    assert used == ["exact", "ivf", "ivf", "hnsw"]


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
    with pytest.raises(ValueError, match="'annoy'.*auto, exact, ivf, hnsw"):
        nearest(torch.rand(4, 2), 1, backend="annoy")
