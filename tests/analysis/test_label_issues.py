"""Label issues: each kind of evidence by hand, and proposals that do no harm."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.analysis import label_evidence
from engine.analysis.label_issues import label_issues
from engine.errors import StoreError
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner
from tests.benchmarks import bench_label_guard as bench
from tests.conftest import blobs, quick, slow


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A finished run on blobs of which a tenth of the labels is wrong."""
    folder = tmp_path_factory.mktemp("issues") / "run"
    config = quick(noise="symmetric-exclusive", rate=0.1, epochs=6, alpha=0.7, k=3)
    Runner.new(config, folder, data=blobs(n=120)).run()
    return folder


@pytest.fixture
def run(template, tmp_path) -> RunFolder:
    shutil.copytree(template, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def rewrite(run: RunFolder, name: str, change) -> RunFolder:
    """The run with one of its JSON files changed."""
    path = run.folder / name
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return RunFolder(run.folder)


# --- the promise


@pytest.mark.parametrize(
    ("case", "least_mended"),
    [
        ("digits300-0.0", 0.0),
        *(pytest.param(*c, marks=slow) for c in [("digits-0.2", 0.4), ("digits-pair0.2", 0.1)]),
    ],
)
def test_proposed_changes_of_digits_do_no_harm(tmp_path, case, least_mended):
    true = bench.write_case(tmp_path / "case.npz", case, seed=0)
    config = bench.config_of(tmp_path / "case.npz", case, seed=0, threads=1)
    row = bench.measure(bench.trained(tmp_path / "run", config, whole=False), true)
    assert row["share"]["proposed"] >= row["share"]["given"]
    assert row["flagged_within_limit"]
    assert row["changes"]["to_the_truth"] >= least_mended * row["wrong"]
    low, high = row["estimate"][1:]
    assert low <= row["wrong"] or "pair" not in case
    assert (row["warning"] is None) == bool(row["changes"]["n"])
    if row["wrong"]:
        assert row["average_precision"]["quality"] > 0.95
    else:
        assert high < 0.1 * row["n"]


@slow
@pytest.mark.skipif(
    not (Path(os.environ.get("MIXNN_DATA", "data")) / "cifar10.npz").exists(),
    reason="no cifar10.npz in MIXNN_DATA",
)
def test_proposed_changes_of_photos_do_no_harm(tmp_path):
    case = "photos2000-0.05"
    true = bench.write_case(tmp_path / "case.npz", case, seed=0)
    config = bench.config_of(tmp_path / "case.npz", case, seed=0, threads=1)
    config = config.changed(epochs=16, correction_start=12, warmup=6)
    row = bench.measure(bench.trained(tmp_path / "run", config, whole=False), true)
    assert row["share"]["proposed"] >= row["share"]["given"] - 0.002
    assert row["flagged_within_limit"]


# --- the decision


def test_wrong_labels_come_first_and_become_the_true_ones(run):
    """On data as easy as this."""
    found, true = label_issues(run), run.labels["true"]
    wrong = np.flatnonzero(found.given != true)
    assert len(wrong) == 12
    assert set(np.argsort(found.quality)[:12].tolist()) == set(wrong.tolist())
    assert 6 < len(found.flagged) <= 14
    assert (np.diff(found.quality[found.flagged]) >= 0).all()
    assert (found.suggested[wrong] == true[wrong]).all()
    changed = np.flatnonzero(found.proposed != found.given)
    assert len(changed) > 3
    assert (found.proposed[changed] == true[changed]).all()
    assert found.warning is None
    low, high = found.noise.interval
    assert low <= 12 <= high


def test_quality_is_the_root_of_probability_and_votes_relative_to_its_class(run):
    """Epoch 1 alone speaks: the later half of the two before correction."""
    found, given = label_issues(run), run.labels["given"]
    loss = run.array("loss")[1].astype(np.float64)
    expected = np.empty(120)
    for i in range(120):
        votes = (20 * found.votes[i, given[i]] + 0.5) / (20 + 3 * 0.5)
        expected[i] = (np.exp(-loss[i]) * votes) ** 0.5
    for c in range(3):
        agreed = (given == c) & (found.suggested == c)
        expected[given == c] /= expected[agreed].mean()
    np.testing.assert_allclose(found.quality, np.minimum(expected, 1), rtol=1e-4)


def test_decisions_are_keep_change_and_review(run):
    found = label_issues(run)
    decisions, changed = found.decisions(), found.proposed != found.given
    assert set(decisions[changed]) == {"change"}
    rest = np.setdiff1d(found.flagged, np.flatnonzero(changed))
    assert set(decisions[rest]) <= {"review"}
    others = np.setdiff1d(np.arange(120), found.flagged)
    assert set(decisions[others]) == {"keep"}


def test_a_reason_names_both_classes_and_their_shares(run):
    found, classes = label_issues(run), ["ant", "bee", "cow"]
    sample = int(found.flagged[0])
    given, other = classes[found.given[sample]], classes[found.suggested[sample]]
    text = found.reason(sample, classes)
    share = found.pred_probs[sample, found.suggested[sample]]
    assert f"sees {other} ({100 * share:.0f} %)" in text
    own = f"{100 * found.votes[sample, found.given[sample]]:.0f} %"
    assert f"{own} {given}." in text
    text = replace(found, voter="linear").reason(sample, classes)
    assert "a linear classifier fitted to all other labels gives" in text
    assert text.endswith(f"and {given} ({own}).")
    kept = int(np.setdiff1d(np.arange(120), found.flagged)[0])
    assert found.reason(kept, classes) == ""


def test_what_correction_did_is_no_evidence(run):
    """Half of all labels move to another class at the end: what a small hard data set does."""
    before = label_issues(run)
    soft = np.load(run.folder / "arrays" / "soft.npy")
    given = run.labels["given"]
    soft[5, :60] = np.eye(3, dtype=np.float32)[(given[:60] + 1) % 3]
    np.save(run.folder / "arrays" / "soft.npy", soft)
    found = label_issues(RunFolder(run.folder))
    assert (found.soft_argmax[:60] != given[:60]).all()
    np.testing.assert_array_equal(found.proposed, before.proposed)
    np.testing.assert_array_equal(found.quality, before.quality)


def test_the_true_labels_are_never_asked(run):
    before = label_issues(run)
    labels = {name: value for name, value in run.labels.items() if name != "true"}
    np.savez(run.folder / "labels.npz", **labels)
    after = label_issues(RunFolder(run.folder))
    np.testing.assert_array_equal(before.proposed, after.proposed)
    np.testing.assert_array_equal(before.flagged, after.flagged)


def test_every_proposed_change_has_all_the_evidence(run):
    found = label_issues(run)
    changed = found.proposed != found.given
    assert (found.probability[changed] >= 0.8).all()
    assert np.isin(np.flatnonzero(changed), found.flagged).all()
    assert (found.suggested == found.proposed)[changed].all()
    assert (found.pred_probs.argmax(1) == found.proposed)[changed].all()


def test_p_clean_is_of_the_given_label(run):
    """Correction starts with epoch 2: epoch 1 was the last whose losses were of given labels."""
    found = label_issues(run)
    np.testing.assert_array_equal(found.p_clean, run.array("clean")[1])
    np.testing.assert_array_equal(found.soft_argmax, run.array("soft")[5].argmax(1))
    np.testing.assert_array_equal(label_issues(run, 0).p_clean, run.array("clean")[0])


def test_labels_corrected_from_the_first_epoch_on_have_no_evidence(tmp_path):
    config = quick(method="selc", warmup=0, correction_start=0, epochs=4, alpha=0.5, rate=0.2)
    Runner.new(config, tmp_path / "run", data=blobs()).run()
    found = label_issues(RunFolder(tmp_path / "run"))
    assert np.isnan(found.p_clean).all()
    assert "no epoch before correction" in found.warning
    assert found.noise is None
    assert not len(found.flagged)
    assert "not known" in found.estimate()
    np.testing.assert_array_equal(found.proposed, found.given)


def test_without_correction_the_newest_epoch_speaks(tmp_path):
    config = quick(method="mixnn-no-correction", epochs=4, rate=0.2)
    Runner.new(config, tmp_path / "run", data=blobs()).run()
    run = RunFolder(tmp_path / "run")
    found = label_issues(run)
    np.testing.assert_array_equal(found.p_clean, run.array("clean")[3])
    np.testing.assert_array_equal(found.soft_argmax, found.given)


def test_sure_is_the_likelihood_of_the_suggestion(run):
    found = label_issues(run)
    np.testing.assert_array_equal(found.confidence(), found.pred_probs.max(1))
    other = replace(found, suggested=found.given)
    assert (other.confidence() <= found.confidence()).all()


# --- the evidence


@pytest.mark.parametrize(("at", "rows"), [(5, [1]), (1, [1]), (0, [0])])
def test_the_later_half_of_the_epochs_before_correction_speaks(run, at, rows):
    epochs = label_evidence.evidence_epochs(label_evidence.epoch_history(run, at))
    assert [epoch.row for epoch in epochs] == rows


def test_pred_probs_are_those_of_prediction_and_given_label(run):
    epochs = label_evidence.epoch_history(run, 1)
    found = label_evidence.mean_pred_probs(epochs)
    given = run.labels["given"]
    by_hand = np.zeros((120, 3))
    for epoch in range(2):
        for i in range(120):
            predicted = run.array("prediction")[epoch, i]
            known = {
                given[i]: np.exp(-run.array("loss")[epoch, i]),
                predicted: run.array("confidence")[epoch, i],
            }
            for c in range(3):
                rest = (1 - sum(known.values())) / (3 - len(known))
                by_hand[i, c] += known.get(c, rest) / 2
    np.testing.assert_allclose(found, by_hand, atol=1e-5)


def test_log_likelihood_is_the_mean_loss(run):
    epochs = label_evidence.epoch_history(run, 1)
    expected = -(run.array("loss")[0] + run.array("loss")[1]) / 2
    np.testing.assert_allclose(label_evidence.log_likelihood(epochs), expected, atol=1e-6)


def test_votes_are_the_given_labels_of_the_nearest_in_the_panel(run):
    moments = label_evidence.epoch_history(run, 5)
    before = label_evidence.epochs_before_correction(moments)
    assert [moment.row for moment in before] == [0, 1]
    votes = label_evidence.neighbor_votes(before[1:])
    features = np.array(run.array("panel_features")[1], dtype=np.float64)
    for sample in (0, 17, 119):
        distances = ((features - features[sample]) ** 2).sum(1)
        distances[sample] = np.inf
        near = np.argsort(distances, kind="stable")[:20]  # 120 samples, 3 classes
        shares = np.bincount(run.labels["given"][near], minlength=3) / 20
        np.testing.assert_allclose(votes[sample], shares, atol=1e-6)


def test_a_small_panel_changes_no_vote(tmp_path):
    """The votes of all samples are stored then, until labels are corrected."""
    runs = []
    for panel_size in (60, 12):
        config = quick(rate=0.1, epochs=4, k=2, panel_size=panel_size, warmup=1, correction_start=3)
        Runner.new(config, tmp_path / str(panel_size), data=blobs(n=60)).run()
        runs.append(RunFolder(tmp_path / str(panel_size)))
    whole, part = runs
    assert [whole.votes(row) for row in range(4)] == [None] * 4
    assert [part.votes(row) is None for row in range(4)] == [False, False, False, True]
    expected, found = map(label_issues, runs)
    # the features of a panel are stored in half precision: neighbors equally near may differ
    assert np.abs(found.votes - expected.votes).max() <= 0.1
    assert np.mean(found.votes == expected.votes) > 0.9
    np.testing.assert_array_equal(found.proposed, expected.proposed)


def test_without_stored_votes_the_mixing_partners_vote_outside_the_panel(tmp_path):
    config = quick(rate=0.1, epochs=4, k=2, panel_size=12, warmup=1, correction_start=3)
    Runner.new(config, tmp_path / "run", data=blobs(n=60)).run()
    (tmp_path / "run" / "arrays" / "votes.npy").unlink()  # as in a run of an older version
    run = RunFolder(tmp_path / "run")
    moments = label_evidence.epoch_history(run, 3)
    votes = label_evidence.neighbor_votes(label_evidence.epochs_before_correction(moments))
    outside = next(i for i in range(60) if i not in run.labels["panel"])
    partners = np.concatenate([run.mixing_of(row)[0][outside] for row in (1, 2)])
    expected = np.bincount(run.labels["given"][partners], minlength=3) / len(partners)
    np.testing.assert_allclose(votes[outside], expected, atol=1e-6)


def test_without_neighbors_and_panel_nobody_votes(tmp_path):
    config = quick(method="selc", rate=0.1, epochs=4, panel_size=3)
    Runner.new(config, tmp_path / "run", data=blobs(n=60)).run()
    (tmp_path / "run" / "arrays" / "votes.npy").unlink()
    run = RunFolder(tmp_path / "run")
    moments = label_evidence.epoch_history(run, 3)
    assert np.isnan(label_evidence.neighbor_votes(moments[:2])).all()
    found = label_issues(run)
    np.testing.assert_array_equal(found.proposed, found.given)
    assert "no neighbors are known" in found.warning
    assert np.isfinite(found.quality).all()


def test_a_fork_remembers_what_its_parent_knew(run, tmp_path):
    expected = label_issues(run)
    Runner.fork(run.folder, 3, tmp_path / "fork", data=blobs(n=120), alpha=0.5, epochs=6).run()
    fork = RunFolder(tmp_path / "fork")
    np.testing.assert_array_equal(label_issues(fork).p_clean, run.array("clean")[1])
    np.testing.assert_array_equal(label_issues(fork).proposed, expected.proposed)
    shutil.rmtree(run.folder)
    shutil.rmtree(tmp_path / "fork" / "parent")
    orphan = label_issues(RunFolder(tmp_path / "fork"))
    assert np.isnan(orphan.p_clean).all()
    np.testing.assert_array_equal(orphan.proposed, orphan.given)


def test_a_fork_that_lost_its_parent_and_does_not_correct_has_no_evidence(run, tmp_path):
    Runner.fork(run.folder, 4, tmp_path / "fork", data=blobs(n=120), method="ce", epochs=7).run()
    assert np.isfinite(label_issues(RunFolder(tmp_path / "fork")).p_clean).all()
    shutil.rmtree(run.folder)
    shutil.rmtree(tmp_path / "fork" / "parent")
    found = label_issues(RunFolder(tmp_path / "fork"))
    assert np.isnan(found.p_clean).all()
    np.testing.assert_array_equal(found.proposed, found.given)


def test_a_folder_that_calls_itself_its_parent_is_refused(run):
    parent = {"run": str(run.folder), "epoch": 3}
    with pytest.raises(StoreError, match="parent.epoch = 3"):
        rewrite(run, "config.json", lambda info: info.update(parent=parent))
