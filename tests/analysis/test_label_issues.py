"""Label issues: each kind of evidence by hand, and proposals that do no harm."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from engine.analysis import label_evidence
from engine.analysis.label_issues import calibrated_probability, label_issues
from engine.config import configure
from engine.errors import StoreError
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner
from tests.benchmarks.bench_label_guard import photos, shares
from tests.conftest import SHARED, blobs, quick, slow
from tests.records import read_records, write_records


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
    ("rate", "limit"),
    [
        (0.4, None),
        *(pytest.param(*case, marks=slow) for case in [(0.0, 300), (0.0, None), (0.2, None)]),
    ],
)
def test_proposed_changes_of_digits_do_no_harm(tmp_path, rate, limit):
    noise = "symmetric-exclusive" if rate else "none"
    config = configure(
        dataset="digits", limit=limit, noise=noise, rate=rate, threads=1, epochs=30 if limit else 12
    )
    Runner.new(config, tmp_path / "run").run()
    run = RunFolder(tmp_path / "run")
    found, true = label_issues(run), run.labels["true"]
    share = shares(found, true)
    assert share["proposed"] >= share["given"]
    if limit:
        assert share["old"] < share["given"] - 0.03  # what was exported as corrected before
        assert found.warning
        suspicious = (found.soft_argmax != found.given) | (run.array("clean")[-1] < 0.5)
        assert len(found.flagged) < suspicious.sum() / 2  # and what was called suspicious
    elif not rate:
        assert len(found.flagged) < 0.02 * len(true)
    else:
        assert not found.warning
        assert share["proposed"] > 1 - rate / 2
        assert abs(found.estimate / len(true) - rate) < 0.1


@slow
@pytest.mark.skipif(not (SHARED / "data").exists(), reason="no ../shared/data beside the project")
@pytest.mark.parametrize("rate", [0.0, 0.05])
def test_proposed_changes_of_photos_do_no_harm(tmp_path, rate):
    true = photos(tmp_path / "photos.npz", rate, seed=0)
    config = configure(
        dataset=f"npz:{tmp_path / 'photos.npz'}", noise="none", epochs=30, correction_start=20
    )
    Runner.new(config, tmp_path / "run").run()
    found = label_issues(RunFolder(tmp_path / "run"))
    share = shares(found, true)
    assert share["old"] < share["given"] - 0.03  # the danger is there
    assert share["proposed"] >= share["given"]
    assert found.warning


# --- the decision


def test_wrong_labels_come_first_and_become_the_true_ones(run):
    """On data as easy as this."""
    found, true = label_issues(run), run.labels["true"]
    wrong = np.flatnonzero(found.given != true)
    assert len(wrong) == 12
    assert set(found.flagged[:12].tolist()) == set(wrong.tolist())
    assert (np.diff(found.quality[found.flagged]) >= 0).all()
    assert (found.suggested[wrong] == true[wrong]).all()
    changed = np.flatnonzero(found.proposed != found.given)
    assert len(changed) > 6
    assert (found.proposed[changed] == true[changed]).all()
    assert found.warning is None
    assert len(changed) <= found.estimate <= 14


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
    assert (found.probability[changed] >= 0.95).all()
    assert (found.p_clean[changed] < 0.5).all()
    assert (found.suggested == found.proposed)[changed].all()
    moments = label_evidence.epoch_history(run, 5)
    before = label_evidence.epochs_before_correction(moments)
    votes = label_evidence.neighbor_votes(moments, before)
    assert (votes.argmax(1) == found.proposed)[changed].all()


def test_p_clean_is_of_the_given_label(run):
    """Correction starts with epoch 2: epoch 1 was the last whose losses were of given labels."""
    found = label_issues(run)
    np.testing.assert_array_equal(found.p_clean, run.array("clean")[1])
    np.testing.assert_array_equal(found.soft_argmax, run.array("soft")[5].argmax(1))
    np.testing.assert_array_equal(label_issues(run, 0).p_clean, run.array("clean")[0])


def test_too_many_changes_are_a_warning_and_nothing_is_proposed(run):
    """Half of all labels move to another class at the end: what a small hard data set does."""
    soft = np.load(run.folder / "arrays" / "soft.npy")
    given = run.labels["given"]
    soft[5, :60] = np.eye(3, dtype=np.float32)[(given[:60] + 1) % 3]
    np.save(run.folder / "arrays" / "soft.npy", soft)
    found = label_issues(RunFolder(run.folder))
    assert "No label change is proposed: the network contradicts" in found.warning
    assert "of 120 labels (correction changed" in found.warning
    np.testing.assert_array_equal(found.proposed, given)
    assert (found.soft_argmax[:60] != given[:60]).all()


def test_a_mixture_in_doubt_is_no_evidence(run):
    def doubt(records):
        records[1]["mixture"]["warning"] = "the losses are all equal"

    records = read_records(run.folder)
    doubt(records)
    write_records(run.folder, records)
    found = label_issues(RunFolder(run.folder))
    assert "P(clean) before correction is not reliable" in found.warning
    np.testing.assert_array_equal(found.proposed, found.given)


def test_labels_corrected_from_the_first_epoch_on_have_no_evidence(tmp_path):
    config = quick(method="selc", warmup=0, correction_start=0, epochs=4, alpha=0.5, rate=0.2)
    Runner.new(config, tmp_path / "run", data=blobs()).run()
    found = label_issues(RunFolder(tmp_path / "run"))
    assert np.isnan(found.p_clean).all()
    assert "no epoch before correction" in found.warning
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


def test_calibration_finds_the_share_of_hits():
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.3, 0.9, 20_000)
    hits = rng.random(20_000) < np.clip(2 * sure - 0.6, 0, 1)  # surer of itself too little
    voted = np.arange(20_000) % 10 > 0
    found = calibrated_probability(sure, hits, voted)
    assert (found[~voted] == 0).all()
    inside = voted & (sure > 0.35) & (sure < 0.75)
    assert abs(found - np.clip(2 * sure - 0.6, 0, 1))[inside].max() < 0.1
    assert (calibrated_probability(sure, hits, np.zeros(20_000, bool)) == 0).all()


# --- the evidence


def test_pred_probs_exclude_the_given_label(run):
    """Against the definition: soft = s given + (1 - s) x average prediction, s = 0.7^steps."""
    given = run.labels["given"]
    for row in (2, 5):
        moments = label_evidence.epoch_history(run, row)
        share = 0.7 ** (row - 1)  # correction starts with epoch 2
        assert label_evidence.given_label_weight(moments) == pytest.approx(share)
        soft = np.array(run.array("soft")[row], dtype=np.float64)
        average = (soft - share * np.eye(3)[given]) / (1 - share)
        found = label_evidence.mean_pred_probs(moments)
        np.testing.assert_allclose(found, average, atol=2e-5)
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


def test_before_any_correction_it_is_the_average_prediction(run):
    found = label_evidence.mean_pred_probs(label_evidence.epoch_history(run, 1))
    prediction, confidence = run.array("prediction")[:2], run.array("confidence")[:2]
    by_hand = np.zeros((120, 3))
    for epoch in range(2):
        for i in range(120):
            for c in range(3):
                sure = confidence[epoch, i]
                by_hand[i, c] += (sure if c == prediction[epoch, i] else (1 - sure) / 2) / 2
    np.testing.assert_allclose(found, by_hand, atol=1e-6)


def test_votes_are_the_given_labels_of_the_nearest_in_the_panel(run):
    moments = label_evidence.epoch_history(run, 5)
    before = label_evidence.epochs_before_correction(moments)
    assert [moment.row for moment in before] == [0, 1]
    votes = label_evidence.neighbor_votes(moments, before)
    features = np.array(run.array("panel_features")[1], dtype=np.float64)
    for sample in (0, 17, 119):
        distances = ((features - features[sample]) ** 2).sum(1)
        distances[sample] = np.inf
        near = np.argsort(distances, kind="stable")[:20]  # 120 samples, 3 classes
        shares = np.bincount(run.labels["given"][near], minlength=3) / 20
        np.testing.assert_allclose(votes[sample], shares, atol=1e-6)


def test_outside_the_panel_the_mixing_partners_vote(tmp_path):
    config = quick(rate=0.1, epochs=4, k=2, panel_size=12, warmup=1, correction_start=3)
    Runner.new(config, tmp_path / "run", data=blobs(n=60)).run()
    run = RunFolder(tmp_path / "run")
    moments = label_evidence.epoch_history(run, 3)
    votes = label_evidence.neighbor_votes(moments, label_evidence.epochs_before_correction(moments))
    outside = next(i for i in range(60) if i not in run.labels["panel"])
    partners = np.concatenate([run.mixing_of(row)[0][outside] for row in (1, 2, 3)])
    expected = np.bincount(run.labels["given"][partners], minlength=3) / len(partners)
    np.testing.assert_allclose(votes[outside], expected, atol=1e-6)


def test_without_neighbors_and_panel_nobody_votes(tmp_path):
    config = quick(method="selc", rate=0.1, epochs=4, panel_size=3)
    Runner.new(config, tmp_path / "run", data=blobs(n=60)).run()
    run = RunFolder(tmp_path / "run")
    moments = label_evidence.epoch_history(run, 3)
    assert np.isnan(label_evidence.neighbor_votes(moments, moments[:2])).all()
    found = label_issues(run)
    np.testing.assert_array_equal(found.proposed, found.given)
    assert np.isfinite(found.quality).all()


def test_a_fork_remembers_what_its_parent_knew(run, tmp_path):
    Runner.fork(run.folder, 3, tmp_path / "fork", data=blobs(n=120), alpha=0.5, epochs=6).run()
    fork = RunFolder(tmp_path / "fork")
    share = label_evidence.given_label_weight(label_evidence.epoch_history(fork, 1))
    assert share == pytest.approx(0.7**2 * 0.5**2)
    np.testing.assert_array_equal(label_issues(fork).p_clean, run.array("clean")[1])
    shutil.rmtree(run.folder)
    shutil.rmtree(tmp_path / "fork" / "parent")
    moments = label_evidence.epoch_history(RunFolder(tmp_path / "fork"), 1)
    assert label_evidence.given_label_weight(moments) == pytest.approx(0.5**2)
    assert np.isnan(label_issues(fork).p_clean).all()


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
