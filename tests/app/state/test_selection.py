"""Which run, epoch and sample are selected if a link names missing ones."""

import shutil

import pytest
import streamlit as st

from app.server import run_cache
from app.server.run_view import RunView
from app.state import selection, url_state
from engine.runs.folder import StoreError
from tests.records import keep_epochs


@pytest.fixture
def select(monkeypatch, finished):
    """select(epoch=3): what the visitor selected; the run "finished" has epochs 0 to 5."""
    monkeypatch.setattr(st, "session_state", {})

    def put(**values) -> None:
        st.session_state[url_state.CHOICES] = values

    put()
    return put


def test_the_run_is_the_selected_one_or_the_newest(select, root):
    assert selection.run() == "finished"
    shutil.copytree(root / "finished", root / "other")
    for name in ("finished", "other"):
        select(run=name)
        assert selection.run() == name
    select(run="gone")
    assert selection.run() in ("finished", "other")


def test_the_row_is_that_of_the_nearest_epoch(select, root):
    assert selection.row("finished") == 5
    for epoch, row in ((0, 0), (3, 3), (99, 5)):
        select(epoch=epoch)
        assert selection.row("finished") == row


def test_of_several_runs_the_newest_epoch_is_one_that_all_have(select, root):
    shutil.copytree(root / "finished", root / "short")
    keep_epochs(root / "short", 3)
    assert selection.row("finished", "short") == 2
    select(epoch=5)
    assert selection.row("finished", "short") == 5


def test_a_run_without_an_epoch_has_no_row(select, root):
    keep_epochs(root / "finished", 0)
    with pytest.raises(StoreError, match="has no epoch yet"):
        selection.row("finished")


def test_a_sample_is_among_those_of_the_run(select):
    assert selection.sample(200) is None
    for index, expected in ((0, 0), (199, 199), (200, None)):
        select(sample=index)
        assert selection.sample(200) == expected


def test_a_view_is_of_the_newest_epoch_unless_another_is_named(select):
    view, first = RunView("finished"), RunView("finished", 0)
    assert (view.row, view.epoch, view.n) == (5, 5, 200)
    assert first.epoch == 0
    assert view.values("loss").shape == (200,)
    assert (view.values("soft").argmax(1) == view.run.array("soft")[5].argmax(1)).all()
    assert view.pixels([3, 4]).shape == (2, 8, 8, 1)
    assert view.sample_name(3) == str(view.labels["ids"][3]) == run_cache.sample_name("finished", 3)
    assert view.classes == [str(digit) for digit in range(10)]
