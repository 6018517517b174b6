"""Losses: numbers against independent counts, the page in every state, what its controls do."""

import re

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from app.server import run_cache
from engine.analysis import loss_analysis
from engine.analysis.label_outcomes import LabelOutcome
from engine.charts import losses as charts
from engine.charts.theme import OUTCOMES
from engine.runs.folder import RunFolder
from tests.app.conftest import app, texts
from tests.records import read_records, write_records

MIXTURE = {"means": [0.2, 0.7], "stds": [0.05, 0.1], "weights": [0.6, 0.4]}


@pytest.fixture
def estimates():
    """P(clean) with ties and which of 500 labels are wrong."""
    rng = np.random.default_rng(0)
    wrong = rng.random(500) < 0.3
    clean = np.round(np.clip(rng.normal(np.where(wrong, 0.35, 0.7), 0.2), 0, 1), 2)
    return clean.astype(np.float32), wrong


def test_a_verdict_counts_as_scikit_learn_does(estimates):
    clean, wrong = estimates
    found = loss_analysis.detection(clean, wrong, 0.5)
    p, r, f, _ = precision_recall_fscore_support(wrong, clean < 0.5, average="binary")
    assert (found.precision, found.recall, found.f1) == pytest.approx((p, r, f))
    assert found.false_positive_rate == pytest.approx((clean[~wrong] < 0.5).mean())


def test_a_verdict_on_nothing_is_none():
    found = loss_analysis.detection(np.ones(3), np.zeros(3, bool), 0.5)
    assert (found.precision, found.recall, found.f1) == (None, None, None)


def test_the_roc_curve_holds_every_threshold(estimates):
    clean, wrong = estimates
    curve = loss_analysis.roc_curve(clean, wrong)
    assert curve.auroc == pytest.approx(roc_auc_score(wrong, -clean))
    for alarms, found, threshold in zip(
        curve.false_positive_rate, curve.true_positive_rate, curve.thresholds, strict=True
    ):
        assert found == pytest.approx((clean[wrong] < threshold).mean())
        assert alarms == pytest.approx((clean[~wrong] < threshold).mean())
    thin = curve.thinned(20)
    assert len(thin.true_positive_rate) <= 22
    assert thin.true_positive_rate[[0, -1]].tolist() == [0, 1]
    assert thin.auroc == curve.auroc


def test_no_roc_where_all_labels_are_of_one_kind():
    assert loss_analysis.roc_curve(np.ones(4), np.zeros(4, bool)) is None
    assert loss_analysis.roc_curve(np.ones(4), np.ones(4, bool)) is None


def test_counts_are_those_of_numpy():
    values = np.random.default_rng(1).random(1000).astype(np.float32)
    expected, _ = np.histogram(values, 40, (0, 1))
    assert (
        np.abs(loss_analysis.bin_counts(values, 1.0) - expected).sum() <= 2
    )  # rounding at an edge
    odd = np.array([np.nan, np.inf, 0.0, 5.0, 1.0])
    assert loss_analysis.bin_counts(odd, 1.0, 4).tolist() == [1, 0, 0, 2]


def test_components_and_posterior_are_those_of_scipy():
    x = np.linspace(0, 1, 101)
    low = 0.6 * norm.pdf(x, 0.2, 0.05)
    high = 0.4 * norm.pdf(x, 0.7, 0.1)
    np.testing.assert_allclose(
        loss_analysis.component_densities(MIXTURE, x), [low, high], rtol=1e-9
    )
    np.testing.assert_allclose(
        loss_analysis.clean_posterior(MIXTURE, x), low / (low + high), atol=1e-9
    )


def test_a_mixture_without_width_has_no_components():
    flat = MIXTURE | {"stds": [0.0, 0.0]}
    assert loss_analysis.component_densities(flat, np.linspace(0, 1, 5)) is None
    assert loss_analysis.clean_posterior(flat, np.linspace(0, 1, 5)) is None


def test_intervals_of_flagged_losses():
    x = np.arange(6.0)
    assert loss_analysis.true_intervals(x, np.array([1, 0, 1, 1, 0, 1], bool)) == [
        (0, 0),
        (2, 3),
        (5, 5),
    ]
    assert loss_analysis.true_intervals(x, np.zeros(6, bool)) == []


def test_axes_hold_all_epochs():
    rows = np.random.default_rng(2).random((7, 300)).astype(np.float32) ** 3
    ranges = loss_analysis.histogram_axes(rows, None, scaled=True)
    tallest = max(loss_analysis.bin_counts(row, 1.0).max() for row in rows)
    assert ranges.top == 1
    assert ranges.full == tallest
    assert ranges.cut <= ranges.full
    plain = loss_analysis.histogram_axes(rows * 9, rows[0] > 0.1, scaled=False)
    assert 7 < plain.top < 9.2
    assert plain.full <= (rows[0] > 0.1).sum()


def test_examples_hold_each_outcome_and_memorized_missed_labels_apart():
    codes = np.repeat([LabelOutcome.CLEAN, LabelOutcome.MISSED, LabelOutcome.HARMED], 20)
    memorized = np.arange(60) % 2 == 1
    rows = np.random.default_rng(0).random((4, 60))
    found = loss_analysis.example_samples(rows, codes, memorized, n=2)
    assert codes[found].tolist() == [0, 0, 2, 2, 2, 2, 3, 3]
    assert memorized[found[2:6]].tolist() == [False, False, True, True]
    unknown = loss_analysis.example_samples(rows, np.full(60, LabelOutcome.KEPT), None, n=2)
    assert len(unknown) == 2


def test_lines_have_the_color_of_their_outcome_and_memorized_ones_are_thick():
    codes = [LabelOutcome.MISSED, LabelOutcome.MISSED, LabelOutcome.HARMED]
    fig = charts.trajectories(
        range(5),
        np.ones((5, 3)),
        list("abc"),
        codes,
        memorized=[False, True, False],
        now=1,
        y="loss",
        probability=False,
    )
    assert [trace.name for trace in fig.data] == ["missed", "missed, memorized", "harmed"]
    assert [trace.line.color for trace in fig.data] == [OUTCOMES[code].color for code in codes]
    assert fig.data[1].line.width > fig.data[0].line.width


def test_typical_samples_lie_in_the_middle():
    rows = np.stack([np.arange(100.0), np.arange(100.0)])
    assert sorted(loss_analysis.typical_samples(rows, np.arange(11), 3)) == [4, 5, 6]


def test_classes_with_their_quantiles_hardest_first(estimates):
    clean, wrong = estimates
    classes = np.arange(500) % 3
    values = 1 - clean
    lines = loss_analysis.losses_by_class(values, clean, classes, wrong)
    assert [line.auroc for line in lines] == sorted(line.auroc for line in lines)
    for line in lines:
        mine = classes == line.class_id
        assert line.auroc == pytest.approx(roc_auc_score(wrong[mine], -clean[mine]))
        assert line.quantiles["wrong"][2] == pytest.approx(np.median(values[mine & wrong]))
        assert line.sizes["right"] == (mine & ~wrong).sum()


def test_the_histogram_cuts_tall_bars_and_says_so():
    bars = {"right": np.array([500, 10, 3]), "wrong": np.array([0, 4, 60])}
    fig = charts.loss_histogram(bars, 1.0, height="cut", tallest=80, title="loss")
    assert [note.text for note in fig.layout.annotations] == ["▲ 500"]
    assert fig.layout.yaxis.range[1] < 100
    assert list(fig.data[0].y) == [500, 10, 3]
    whole = charts.loss_histogram(bars, 1.0, height="full", tallest=500, title="loss")
    assert not whole.layout.annotations
    log = charts.loss_histogram(bars, 1.0, height="log", tallest=500, title="loss")
    assert log.layout.yaxis.type == "log"


def test_the_page_counts_what_the_run_says(finished, root):
    given, true = (run_cache.run(finished).labels[name] for name in ("given", "true"))
    soft = np.load(root / finished / "arrays" / "soft.npy", mmap_mode="r+")
    corrected = np.flatnonzero(given != true)[::2]
    soft[5, corrected] = np.eye(10)[true[corrected]]
    at = app("losses", run=finished, epoch="5", threshold="0.4")
    run = run_cache.run(finished)
    clean, current = run.array("clean")[5], run.array("soft")[5].argmax(1)
    assert (current != run.labels["given"]).any()  # the labels of the epoch count
    wrong = current != run.labels["true"]
    p, r, f, _ = precision_recall_fscore_support(
        wrong, clean < 0.4, average="binary", zero_division=0
    )
    shown = {m.label: m.value for m in at.metric}
    assert shown["Recall"] == f"{100 * r:.1f} %"
    assert shown["F1"] == f"{100 * f:.1f} %"
    assert shown["Precision"] == f"{100 * p:.1f} %"
    assert f"**{(clean < 0.4).sum()}** of {len(clean)} labels" in texts(at)


def test_one_class_alone(finished):
    at = app("losses", run=finished, **{"class": "3"})
    n = (run_cache.run(finished).labels["true"] == 3).sum()
    assert f"of {n} labels have a P(clean)" in texts(at)


def test_a_missing_class_means_all(finished):
    at = app("losses", run=finished, **{"class": "77"})
    assert "of 200 labels have a P(clean)" in texts(at)


def test_the_threshold_goes_into_the_link(finished):
    at = app("losses", run=finished)
    at.slider(key="w-threshold").set_value(0.8).run()
    assert at.query_params["threshold"] == "0.8"
    assert "below 0.80" in texts(at)


@pytest.mark.parametrize("loss", ["scaled", "plain"])
@pytest.mark.parametrize("bars", ["cut", "full", "log"])
def test_every_kind_of_histogram(finished, loss, bars):
    at = app("losses", run=finished, loss=loss, bars=bars)
    assert not at.error


def test_selected_samples_over_the_epochs(finished):
    at = app("losses", run=finished, who="chosen")
    assert "No sample is selected yet" in texts(at)
    at = app("losses", run=finished, who="chosen", sample="7", lines="clean")
    assert "No sample is selected yet" not in texts(at)
    assert not at.error


def two(low: float, high: float, std: float = 0.05, weight: float = 0.5) -> dict:
    return {"means": [low, high], "stds": [std, std], "weights": [weight, 1 - weight]}


def test_peaks_are_counted():
    assert loss_analysis.ashman_d(MIXTURE) == pytest.approx(
        0.5 * 2**0.5 / (0.05**2 + 0.1**2) ** 0.5
    )
    assert loss_analysis.modality(two(0.2, 0.7)) == "two"
    assert loss_analysis.modality(two(0.2, 0.31)) == "overlapping"  # 2.2 apart
    assert loss_analysis.modality(two(0.2, 0.29)) == "one"
    assert loss_analysis.modality(two(0.4, 0.4, 0.0)) == "one"


def test_the_telling_epoch_is_the_last_before_correction():
    records = [{"epoch": e, "mixture": two(0.2, 0.3 + 0.1 * (e == 7))} for e in range(5, 12)]
    assert loss_analysis.telling_row(records, 8) == 2
    assert loss_analysis.telling_row(records, 3) == 0  # of a fork: all are corrected
    assert loss_analysis.telling_row(records, None) == 2  # the most bimodal one
    assert loss_analysis.telling_row(records[:2], 9) == 0  # not corrected yet


def test_the_page_of_an_ended_run_opens_at_the_telling_epoch(finished, root):
    records = read_records(root / finished)
    start = RunFolder(root / finished).config.correction_start
    assert "the last epoch before labels are corrected" in texts(app("losses", run=finished))
    for record in records:
        record["mixture"] |= two(0.2, 0.7)
    records[-1]["mixture"] |= two(0.2, 0.25)
    write_records(root / finished, records)
    at = app("losses", run=finished)
    assert f"At epoch {start - 1} the losses have **two clear peaks**" in texts(at)
    at = app("losses", run=finished, epoch=str(records[-1]["epoch"]))
    assert "**one peak** (Ashman's D 1.0, bimodal from 2)" in texts(at)
    at.button(key="epoch-back").click().run()
    assert f"At epoch {records[-2]['epoch']} the losses" in texts(at)


def test_the_warning_of_the_mixture_is_shown(finished, root):
    records = read_records(root / finished)
    for record in records:
        record["mixture"]["warning"] = None
    records[2]["mixture"]["warning"] = "one component"
    write_records(root / finished, records)
    assert "has a warning: one component" in texts(app("losses", run=finished, epoch="2"))
    assert "has a warning" not in texts(app("losses", run=finished, epoch="3"))


def test_unknown_true_labels_are_named(unknown):
    at = app("losses", run=unknown)
    assert "true labels of this data set are not known" in texts(at)
    assert not at.metric
    assert not at.error


def test_no_run_says_what_to_do(root):
    assert "There is no run yet" in texts(app("losses"))


def test_a_failed_run_shows_its_epochs(failed):
    at = app("losses", run=failed)
    assert re.search(r"Epoch \*\*\d\*\* of 2", texts(at))
    assert at.metric


def test_a_broken_run_says_so(broken):
    at = app("losses", run=broken)
    assert any("config.json" in e.value for e in at.error)
    assert not at.metric


def test_a_running_run(running):
    at = app("losses", run=running)
    assert at.metric
    assert not at.error
