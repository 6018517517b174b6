"""The searches of the Sample page, against counting by hand."""

import numpy as np
import pytest

from engine.analysis import sample_search
from engine.analysis.sample_search import (
    SEARCHES,
    EpochLabels,
    available_searches,
    find_samples,
    position_of,
    previous_and_next,
)

N, C = 60, 4


@pytest.fixture
def labels():
    rng = np.random.default_rng(3)
    soft = rng.dirichlet(np.full(C, 0.4), N).astype(np.float32)
    names = np.array([f"photo_{i:03}.JPG" for i in range(N)])
    return EpochLabels(rng.integers(0, C, N), rng.integers(0, C, N), soft, rng.random(N), names)


def test_most_corrected(labels):
    found = find_samples("corrected", labels).tolist()
    changed = [
        i for i in range(N) if max(range(C), key=lambda c: labels.soft[i][c]) != labels.given[i]
    ]
    assert sorted(found) == changed
    left = [labels.soft[i][labels.given[i]] for i in found]
    assert left == sorted(left)
    assert 10 < len(found) < N


def test_wrongly_corrected(labels):
    found = find_samples("harmed", labels).tolist()
    best = [int(np.argmax(row)) for row in labels.soft]
    harmed = [i for i in range(N) if labels.given[i] == labels.true[i] != best[i]]
    assert sorted(found) == harmed != []
    sure = [labels.soft[i].max() for i in found]
    assert sure == sorted(sure, reverse=True)


def test_still_wrong(labels):
    found = find_samples("wrong", labels).tolist()
    best = [int(np.argmax(row)) for row in labels.soft]
    wrong = [i for i in range(N) if labels.given[i] != labels.true[i] != best[i]]
    assert sorted(found) == wrong != []
    clean = [labels.clean[i] for i in found]
    assert clean == sorted(clean, reverse=True)


def test_least_clean_holds_all(labels):
    found = find_samples("doubted", labels).tolist()
    assert found == sorted(range(N), key=lambda i: labels.clean[i])


@pytest.mark.parametrize("c", range(C))
def test_by_class(labels, c):
    best = [int(np.argmax(row)) for row in labels.soft]
    for search, column in (("given", labels.given), ("true", labels.true), ("now", best)):
        assert find_samples(search, labels, c).tolist() == [i for i in range(N) if column[i] == c]


def test_random_is_all_by_its_seed(labels):
    first = find_samples("random", labels, 1).tolist()
    assert sorted(first) == list(range(N))
    assert first == find_samples("random", labels, 1).tolist()
    assert first != find_samples("random", labels, 2).tolist()


def test_by_name_whatever_the_capitals(labels):
    assert find_samples("name", labels, "Photo_01").tolist() == list(range(10, 20))
    assert find_samples("name", labels, "jpg").tolist() == list(range(N))
    assert find_samples("name", labels, "none").tolist() == []


def test_a_lasso_of_another_run_keeps_what_fits(labels):
    assert find_samples("lasso", labels, (5, 2, N, 10_000)).tolist() == [5, 2]


def test_all_in_order(labels):
    assert find_samples("all", labels).tolist() == list(range(N))


def test_what_is_offered():
    least = available_searches(truth=False, lasso=False, names=False)
    assert set(SEARCHES) - set(least) == {"harmed", "wrong", "true", "lasso", "name"}
    assert set(available_searches(truth=True, lasso=True, names=True)) == set(SEARCHES)


def test_a_search_that_needs_true_labels_is_refused(labels):
    unknown = EpochLabels(labels.given, None, labels.soft, labels.clean)
    with pytest.raises(ValueError, match="search = 'harmed' needs true labels"):
        find_samples("harmed", unknown)


def test_before_and_after():
    ids = np.array([7, 3, 9])
    assert previous_and_next(ids, 7) == (None, 3)
    assert previous_and_next(ids, 3) == (7, 9)
    assert previous_and_next(ids, 9) == (3, None)
    assert previous_and_next(ids, 4) == (None, 7)
    assert previous_and_next(ids[:0], 4) == (None, None)
    assert (position_of(ids, 9), position_of(ids, 4)) == (2, None)


def test_equal_ones_come_in_order():
    flat = EpochLabels(np.zeros(5, int), None, np.full((5, 2), 0.5), np.full(5, 0.25))
    assert sample_search.least_clean(flat).tolist() == [0, 1, 2, 3, 4]
