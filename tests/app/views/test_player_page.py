"""Player: a run or two, labels by hand as a data set, pages written in the background."""

import numpy as np
import pytest

from app.server.publishing import Publication
from app.server.run_info import RunsError
from app.views.player import fool
from engine.data import load
from engine.errors import StoreError
from engine.reports.publish import html_page
from engine.runs.folder import RunFolder
from tests.app.conftest import app, texts
from tests.conftest import quick_digits
from tests.records import keep_epochs


def test_the_other_pages_get_the_same_epoch_and_sample(finished):
    at = app("player", run=finished, epoch="3", sample="17")
    assert at.header[0].value == "What happened?"
    assert [button.label for button in at.button] == ["Publish"]
    links = [one for one in at.get("page_link") if one.proto.page.startswith("losses")]
    assert "epoch=3&sample=17" in links[0].proto.query_string
    assert f"run={finished}" in links[0].proto.query_string


def test_a_run_beside_it_has_to_exist_and_to_fit(finished):
    at = app("player", run=finished, against="nothing")
    assert "nothing cannot be shown beside it" in texts(at)
    assert [button.label for button in at.button] == ["Publish"]


def test_labels_by_hand_are_a_data_set_with_known_truth(tmp_path):
    data = load("digits")
    truth = data.labels.numpy()
    edits = [[5, int(truth[5] + 1) % 10], [700, int(truth[700] + 3) % 10]]
    (tmp_path / fool.FILE).write_bytes(fool.labeled(data, data.classes, edits))
    made = load(f"npz:{tmp_path / fool.FILE}")
    np.testing.assert_array_equal(made.images, data.images)
    np.testing.assert_array_equal(made.test_images, data.test_images)
    np.testing.assert_array_equal(made.test_labels, data.test_labels)
    np.testing.assert_array_equal(made.true_labels, truth)
    assert made.classes == data.classes
    wrong = np.flatnonzero(made.labels.numpy() != truth)
    assert [[int(i), int(made.labels[i])] for i in wrong] == edits


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ([], "no label is wrong"),
        ([[1437, 0]], "row 1437, label 0: allowed are rows 0 to 1436 and labels 0 to 9"),
        ([[0, 10]], "row 0, label 10: allowed are rows 0 to 1436"),
        ([[0, "1"]], "allowed are pairs of a row and a label"),
        ([[0]], "allowed are pairs"),
    ],
)
def test_labels_that_do_not_exist_are_refused(edits, words):
    data = load("digits")
    with pytest.raises(RunsError, match=words):
        fool.labeled(data, data.classes, edits)


def test_labels_by_hand_are_trained_without_other_noise():
    given = fool.settings(quick_digits(method="ce", noise="pair"), "npz:/x.npz")
    assert (given.method, given.noise, given.dataset) == ("mixnn", "none", "npz:/x.npz")
    assert given.limit is None
    own = quick_digits(alpha=0.3, method="mixnn-plus")
    kept = fool.settings(own, "npz:/x.npz")
    assert (kept.method, kept.alpha, kept.epochs) == ("mixnn-plus", 0.3, own.epochs)


def test_a_page_is_written_in_the_background_or_says_why_not(root, finished):
    run = RunFolder(root / finished)
    job = Publication([run])
    with pytest.raises(StoreError, match="not written yet"):
        job.content()
    job.start()
    job.join()
    assert job.content() == html_page([run], load("digits", limit=run.config.limit)).encode()
    assert job.size == len(job.content())
    keep_epochs(root / finished, 0)
    empty = Publication([RunFolder(root / finished)])
    empty.run()
    assert "no epoch yet" in empty.refusal
    assert empty.size == 0
