"""What became of a label: every case by hand, and the same words, order and colors everywhere."""

from itertools import product

import numpy as np
import pytest

from engine.analysis import label_outcomes
from engine.analysis.label_outcomes import (
    LabelOutcome,
    memorized,
    outcome_counts,
    outcome_words,
    outcomes,
    samples_by_outcome,
)
from engine.charts.theme import OUTCOMES


def by_hand(given: int, true: int | None, current: int) -> str:
    if true is None:
        return "kept" if current == given else "changed"
    if current == true:
        return "clean" if given == true else "corrected"
    if given == true:
        return "harmed"
    return "missed" if current == given else "changed"


@pytest.mark.parametrize("truth_known", [True, False])
def test_every_case_of_three_classes(truth_known):
    cases = list(product(range(3), range(3) if truth_known else [None], range(3)))
    given, true, current = zip(*cases, strict=True)
    found = outcomes(given, true if truth_known else None, current)
    assert found.dtype == np.int8
    expected = [by_hand(*case) for case in cases]
    assert outcome_words(found).tolist() == expected
    assert set(expected) == {kind.word for kind in LabelOutcome.possible(truth_known)}


def test_one_label_is_possible():
    assert outcomes(2, 1, 1) == LabelOutcome.CORRECTED
    assert outcomes(np.int64(2), None, np.int64(2)) == LabelOutcome.KEPT


def test_counts_and_groups_part_all_labels_in_order():
    given, true, current = np.random.default_rng(0).integers(4, size=(3, 500))
    codes = outcomes(given, true, current)
    assert sum(outcome_counts(codes).values()) == 500
    assert list(outcome_counts(codes)) == list(LabelOutcome)
    parts = samples_by_outcome(codes)
    assert list(parts) == list(LabelOutcome.possible(True))
    assert sorted(np.concatenate(list(parts.values()))) == list(range(500))
    assert {kind: len(members) for kind, members in parts.items()} == {
        kind: n for kind, n in outcome_counts(codes).items() if n
    }


def test_memorized_is_no_outcome_but_a_flag():
    given, true, prediction = np.array([(1, 0, 1), (1, 0, 0), (0, 0, 0), (1, 0, 2)]).T
    assert memorized(given, true, prediction).tolist() == [True, False, False, False]
    assert memorized(given, None, prediction) is None


def test_each_outcome_has_a_sentence_and_a_look_of_its_own():
    for known in (True, False):
        kinds = LabelOutcome.possible(known)
        sentences = [kind.meaning(known) for kind in kinds]
        assert len(set(sentences)) == len(kinds)
        assert all(s.endswith(".") and s.count(".") == 1 for s in sentences)
        for field in ("color", "dash", "mark"):
            assert len({getattr(OUTCOMES[kind], field) for kind in kinds}) == len(kinds), field
    assert "not known" in LabelOutcome.CHANGED.meaning(False)
    assert list(OUTCOMES) == list(LabelOutcome) == sorted(LabelOutcome)


def test_the_example():
    import doctest

    assert doctest.testmod(label_outcomes).failed == 0
