"""Failure signatures: on records made by hand, and on the measured runs behind the thresholds."""

import json
from pathlib import Path

import pytest

from engine.analysis.diagnostics import Diagnosis, diagnose
from engine.config import configure

RESULTS = Path(__file__).resolve().parents[2] / "assets" / "results" / "signs.json"
STORED_NAMES = {"Losses not bimodal": "No two humps"}  # the results are older than the name
CONFIG = configure(dataset="digits", epochs=30)
WRONG = 0.36


def records(config=CONFIG, n: int = 30, unimodal=(), **metrics) -> list[dict]:
    """n records of a run that goes well, but for these metrics: a value, or the last ones.

    The first of a list is that of all epochs before it, too.
    """
    usual = dict(
        test_accuracy=0.97,
        label_accuracy=0.98,
        changed_labels=0.36,
        clean_share=0.7,
        memorized=0.01,
        fit_clean=0.99,
        lost_classes=0.0,
    )
    made = []
    for epoch in range(n):
        values = {}
        for name, value in (usual | metrics).items():
            if isinstance(value, list):
                value = value[max(epoch - n, -len(value))]
            values[name] = value
        made.append(
            {
                "epoch": epoch,
                "metrics": values,
                "mixture": {"warning": "unimodal" if epoch in unimodal else None},
                "settings": {
                    "k": config.k,
                    "alpha": config.alpha,
                    "correction": config.correction,
                    "correction_start": config.correction_start,
                },
            }
        )
    return made


def found(config=CONFIG, *, rate_actual=WRONG, **changes) -> dict[str, Diagnosis]:
    return {
        s.name: s for s in diagnose(config, records(config, **changes), rate_actual=rate_actual)
    }


def test_a_run_that_goes_well_raises_no_sign():
    assert found() == {}
    assert diagnose(CONFIG, [], rate_actual=WRONG) == []


def test_memorization_needs_wrong_labels_learned_and_a_test_that_falls():
    config = configure(dataset="digits", method="ce")
    learned = dict(memorized=[0.02, 0.5, 0.9, 1.0, 1.0], label_accuracy=0.64, changed_labels=0.0)
    falling = [0.95, 0.9, 0.82, 0.8, 0.81]
    diagnosis = found(config, **learned, test_accuracy=falling)["Memorization"]
    for number in ("100.0 %", "2.0 %", "95.0 %", "81.0 %", "epoch 0"):
        assert number in diagnosis.evidence
    assert "stop at epoch 0" in diagnosis.advice
    assert "Memorization" not in found(config, **learned)  # the test does not fall
    assert "Memorization" not in found(config, memorized=0.1, test_accuracy=falling)
    assert "Memorization" not in found(config, memorized=0.8, test_accuracy=falling)  # no rise


def test_epochs_that_were_not_tested_are_left_out():
    learned = dict(memorized=[0.02, *[0.9] * 20], label_accuracy=0.64, changed_labels=0.0)
    config = configure(dataset="digits", method="ce")
    made = records(config, **learned, test_accuracy=[0.95, *[0.8] * 20])
    expected = diagnose(config, made, rate_actual=WRONG)
    assert [one.name for one in expected] == ["Memorization"]
    for record in made[1::2]:  # the last one, too
        record["metrics"]["test_accuracy"] = None
    assert diagnose(config, made, rate_actual=WRONG) == expected


def test_one_bad_epoch_is_chance():
    assert found(test_accuracy=[0.97, 0.6]) == {}
    assert "Past its best epoch" in found(test_accuracy=[0.97, 0.6, 0.6, 0.6])


def test_a_drop_is_attributed_to_an_extreme_k_or_alpha():
    falling = dict(test_accuracy=[0.97, 0.7, 0.7, 0.7], label_accuracy=[0.98, 0.8, 0.8, 0.8])
    many, low = CONFIG.changed(k=50), CONFIG.changed(alpha=0.0)
    assert set(found(many, **falling)) == {"K too large"}
    assert "With 50 neighbors" in found(many, **falling)["K too large"].evidence
    assert set(found(low, **falling)) == {"Alpha near 0"}
    assert "label accuracy fell from 98.0 % at epoch 0 to 80.0 %" in (
        found(low, **falling)["Alpha near 0"].evidence
    )
    assert set(found(CONFIG, **falling)) == {"Past its best epoch"}
    assert found(many) == found(low) == {}  # a large K that does no harm raises nothing


def test_the_settings_of_the_last_epoch_count_not_those_at_the_start():
    made = records(test_accuracy=[0.97, 0.7, 0.7, 0.7])
    for record in made[20:]:
        record["settings"]["k"] = 60
    (diagnosis,) = diagnose(CONFIG, made, rate_actual=WRONG)
    assert diagnosis.name == "K too large"
    assert "With 60 neighbors" in diagnosis.evidence


def test_harm_is_a_label_accuracy_below_the_given_one():
    assert "Correction does harm" in found(label_accuracy=0.5)
    assert (
        "64.0 % of the given labels were"
        in found(label_accuracy=0.5)["Correction does harm"].evidence
    )
    assert found(label_accuracy=0.64) == {}
    assert "Correction does harm" not in found(label_accuracy=None, rate_actual=None)


def test_classes_collapse_when_they_are_no_longer_predicted():
    assert "30.0 % of the classes" in found(lost_classes=0.3)["Classes collapse"].evidence
    assert found(lost_classes=[0.0, 0.3]) == {}
    assert found(lost_classes=0.1) == {}


def test_old_records_without_lost_classes_show_no_failure():
    made = records()
    for record in made:
        del record["metrics"]["lost_classes"]
    assert diagnose(CONFIG, made, rate_actual=WRONG) == []


def test_bimodality_is_checked_between_first_mixing_and_correction():
    assert (CONFIG.warmup, CONFIG.correction_start) == (2, 3)
    assert "2 of the 3 epochs from 1 to 3" in found(unimodal=(1, 3))["Losses not bimodal"].evidence
    assert found(unimodal=(2,)) == {}
    assert found(unimodal=range(4, 30)) == {}  # labels have become right: no second mode is left
    plain = configure(dataset="digits", method="ce")
    assert "Losses not bimodal" not in found(plain, unimodal=range(30), changed_labels=0.0)


def test_nothing_corrected_is_reported_after_some_epochs():
    still = dict(changed_labels=0.0, label_accuracy=0.64)
    long = CONFIG.changed(epochs=300)
    assert found(long, n=8, **still) == {}
    assert set(found(long, n=30, **still)) == {"Nothing corrected"}
    stiff = long.changed(alpha=0.99)  # 0.99 ** 27 = 0.76 of the old label is left: it may come
    assert found(stiff, n=30, **still) == {}
    assert set(found(stiff, n=120, **still)) == {"Alpha near 1"}
    assert set(found(CONFIG.changed(alpha=1.0), **still)) == {"Alpha near 1"}
    assert set(found(CONFIG.changed(correction_start=29), **still)) == {"Nothing corrected"}
    off = configure(dataset="digits", method="mixnn-no-correction")
    assert found(off, **still) == {}
    assert "Nothing corrected" not in found(**still | {"label_accuracy": 1.0}, rate_actual=0.0)


def test_little_noise_is_named_for_methods_that_fight_it():
    little = dict(rate_actual=0.045, label_accuracy=0.99, changed_labels=0.045)
    assert "4.5 %" in found(**little)["Hardly any noise"].evidence
    assert found(configure(dataset="digits", method="ce"), **little) == {}
    assert found(rate_actual=0.09) == {}


def test_without_the_truth_the_other_diagnoses_remain():
    unknown = dict(memorized=None, fit_clean=None, label_accuracy=None, rate_actual=None)
    assert found(**unknown) == {}
    falling = found(CONFIG.changed(k=50), **unknown, test_accuracy=[0.97, 0.7, 0.7, 0.7])
    assert "test accuracy fell" in falling["K too large"].evidence
    assert (
        "the true labels are not known"
        in found(**unknown, changed_labels=0.0)["Nothing corrected"].advice
    )
    assert found(**unknown, test_accuracy=None) == {}


@pytest.fixture(scope="module")
def measured() -> list[dict]:
    """Runs on digits, see tests/benchmarks/bench_diagnostics.py."""
    return json.loads(RESULTS.read_text())["results"]["runs"]


def test_usual_settings_show_no_failure_in_any_epoch(measured):
    usual = [
        r
        for r in measured
        if r["method"] == "mixnn"
        and r["noise"] == "symmetric"
        and 0.1 <= r["rate"] <= 0.6
        and (r["k"], r["alpha"], r["correction_start"], r["learning_rate"]) == (5, 0.8, 3, 0.05)
    ]
    assert len(usual) >= 8
    assert all(run["ever"] == [] for run in usual)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (dict(k=50, rate=0.4), "K too large"),
        (dict(k=100, rate=0.4), "K too large"),
        (dict(alpha=0.0, rate=0.4, correction_start=3), "Alpha near 0"),
        (dict(alpha=1.0), "Alpha near 1"),
        (dict(rate=0.05, k=5, alpha=0.8, method="mixnn"), "Hardly any noise"),
        (dict(rate=0.4, method="ce"), "Memorization"),
        (dict(rate=0.8, k=5, alpha=0.8, method="mixnn"), "Losses not bimodal"),
        (dict(learning_rate=3.0), "Classes collapse"),
    ],
)
def test_failures_of_the_stored_runs(measured, settings, name):
    runs = [r for r in measured if settings.items() <= r.items()]
    assert runs
    stored = STORED_NAMES.get(name, name)
    assert all(stored in run["signs"] for run in runs)
