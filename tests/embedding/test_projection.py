"""Maps against scikit-learn and against what a map must keep; nothing here knows a run."""

import threading

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from engine.embedding import projection


def islands(n: int = 240, d: int = 16, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Six classes in d dimensions: features (n, d), labels (n,)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 6
    return rng.normal(0, 4, (6, d))[labels] + rng.normal(size=(n, d)), labels


def turned(layout: np.ndarray, angle: float) -> np.ndarray:
    """Turned, mirrored and shifted."""
    c, s = np.cos(angle), np.sin(angle)
    return layout @ np.array([[c, -s], [s, c]]) @ np.diag([1, -1]) + [5, -3]


def distances(layout: np.ndarray) -> np.ndarray:
    return np.linalg.norm(layout[:, None] - layout[None], axis=2)


@pytest.mark.parametrize("dims", [2, 3])
def test_pca_keeps_the_distances_of_scikit_learns(dims):
    features, _ = islands()
    expected = PCA(dims).fit_transform(features)
    assert distances(projection.pca(features, dims)) == pytest.approx(distances(expected), abs=1e-3)


def test_align_undoes_turning_mirroring_and_shifting():
    layout = np.random.default_rng(0).normal(size=(50, 2))
    assert projection.align(turned(layout, 2.0), layout) == pytest.approx(layout, abs=1e-5)


def test_align_never_stretches():
    rng = np.random.default_rng(0)
    layout, previous = rng.normal(size=(50, 2)), 7 * rng.normal(size=(50, 2))
    assert distances(projection.align(layout, previous)) == pytest.approx(
        distances(layout), abs=1e-5
    )


def test_pca_is_turned_to_the_previous_layout():
    features, _ = islands()
    first = projection.pca(features)
    again = projection.pca(features, 2, turned(first, 1.0))
    assert again == pytest.approx(turned(first, 1.0), abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("dims", [2, 3])
def test_a_map_keeps_neighbors(dims):
    features, _ = islands()
    layout = projection.umap(features, dims)
    assert layout.shape == (240, dims)
    assert layout.dtype == np.float32
    assert trustworthiness(features, layout, n_neighbors=10) > 0.9
    # far better than a random map, which scores a half
    assert trustworthiness(features, np.random.default_rng(0).normal(size=(240, 2))) < 0.6


@pytest.mark.slow
def test_maps_are_steady_and_follow_what_changes():
    """Points move little from epoch to epoch; a class that goes elsewhere is followed."""
    features, labels = islands()
    rng = np.random.default_rng(1)
    before = projection.umap(features)
    changed = features + rng.normal(0, 0.3, features.shape)
    wanderers = np.flatnonzero(labels == 0)[:10]
    changed[wanderers] = changed[labels == 3][:10] + 0.1
    after = projection.umap(changed, 2, before)
    moved = np.linalg.norm(after - before, axis=1) / before.std()
    assert np.median(moved) < 0.3
    island = after[labels == 3]
    goal = island.mean(0)
    gone = np.linalg.norm(after[wanderers] - goal, axis=1)
    assert gone.max() < 1.2 * np.linalg.norm(island - goal, axis=1).max()
    assert trustworthiness(changed, after, n_neighbors=10) > 0.9


def test_who_lost_its_neighbors_starts_among_the_new_ones():
    """Points 0 to 9 lie left, 10 to 19 right; 0 has its neighbors on the right now."""
    previous = np.array([[0.0, i] for i in range(10)] + [[50.0, i] for i in range(10)])
    neighbors = np.array(
        [[i, *(j for j in range(20) if j != i and j // 10 == i // 10)][:6] for i in range(20)]
    )
    neighbors[0, 1:] = [12, 13, 14, 15, 16]
    start = projection._with_jumps(previous, neighbors)
    assert start[0] == pytest.approx([50, 4], abs=0.1)
    assert np.array_equal(start[1:], previous[1:])


@pytest.mark.slow
def test_a_fresh_map_is_not_steady():
    """Why the previous map is needed at all: without it a little noise moves everything."""
    features, _ = islands()
    noise = np.random.default_rng(1).normal(0, 0.3, features.shape)
    before, fresh = projection.umap(features), projection.umap(features + noise)
    steady = projection.umap(features + noise, 2, before)
    fresh_moved, moved = (np.median(np.linalg.norm(m - before, axis=1)) for m in (fresh, steady))
    assert moved < fresh_moved / 2


@pytest.mark.slow
def test_the_same_input_gives_the_same_map():
    features, _ = islands(60)
    first = projection.umap(features)
    assert np.array_equal(first, projection.umap(features))
    assert np.array_equal(projection.umap(features, 2, first), projection.umap(features, 2, first))


@pytest.mark.slow
def test_overflown_features_do_no_harm():
    features = islands(60)[0].astype(np.float16)
    features[3, 2], features[4, 5], features[5, 1] = np.inf, -np.inf, np.nan
    for layout in (projection.pca(features), projection.umap(features)):
        assert np.isfinite(layout).all()


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3, 4, 5, 8])
def test_a_handful_of_points_has_a_map(n):
    features = np.random.default_rng(0).normal(size=(n, 6))
    assert np.isfinite(projection.umap(features)).all()
    assert projection.umap(features, 3).shape == (n, 3)


@pytest.mark.slow
def test_equal_features_and_too_few_of_them_have_a_map():
    same = np.ones((40, 4))
    for layout in (
        projection.pca(same),
        projection.umap(same),
        projection.umap(same, 2, projection.pca(same)),
    ):
        assert np.isfinite(layout).all()
    assert projection.pca(np.arange(6.0)[:, None], 2)[:, 1] == pytest.approx(0)


def test_the_exact_search_finds_what_brute_force_finds():
    points = np.float32(islands(90)[0])
    indices, far = projection._nearest(points, 7)
    expected = np.sort(distances(points), axis=1)[:, :7]
    assert far == pytest.approx(expected, abs=1e-4)
    assert np.array_equal(indices[:, 0], np.arange(90))


def test_many_points_are_searched_in_blocks_alike(monkeypatch):
    points = np.float32(islands(90)[0])
    whole = projection._nearest(points, 7)[0]
    monkeypatch.setattr(projection, "BLOCK", 90 * 16)
    assert np.array_equal(projection._nearest(points, 7)[0], whole)


@pytest.mark.slow
def test_two_threads_never_enter_umap_together():
    features, _ = islands(60)
    projection.umap(features)
    done = threading.Event()
    thread = threading.Thread(target=lambda: (projection.umap(features), done.set()))
    with projection._one_at_a_time:
        thread.start()
        assert not done.wait(0.5)
    assert done.wait(60)
    thread.join()
