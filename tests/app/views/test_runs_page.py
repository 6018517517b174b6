"""Runs: the table, what its marked rows offer, names that say what differs."""

import json
import shutil

import pytest
from streamlit.util import calc_hash

from app.components import run_list, run_names
from app.server.run_manager import runs
from engine.analysis import run_table
from engine.files import write_json
from engine.runs.annotation import read_annotation, write_annotation
from engine.runs.runner import Runner
from tests.analysis.test_run_table import forge
from tests.app.conftest import app, texts, wait_until
from tests.records import read_records, write_records

SHARED = "200 of digits, symmetric 40 %, seed 0"


@pytest.fixture
def family(root, template):
    """Runs of the preset's settings, with K 20, changed while training, twice the same, a fork."""
    usual = dict(k=5, seed=0, epochs=30, warmup=2, correction_start=3)
    auto = "digits-mixnn-symmetric0.4-seed0"
    for number, (name, settings) in enumerate(
        {auto: {}, f"{auto}-2": {"k": 20}, f"{auto}-3": {}, f"{auto}-4": {}}.items()
    ):
        folder = forge(template, root / name, **usual | settings)
        info = json.loads((folder / "config.json").read_text())
        write_json(folder / "config.json", info | {"created": f"2026-01-0{number + 1}"})
    records = read_records(root / f"{auto}-3")
    for record in records[3:]:
        record["settings"]["alpha"] = 0.0
    write_records(root / f"{auto}-3", records)
    return auto


def test_names_say_what_differs(family, root):
    found = run_names.labels()
    assert found[family] == f"MixNN · {SHARED}"
    assert found[f"{family}-2"] == f"MixNN, K 20 · {SHARED}"
    assert found[f"{family}-3"] == f"MixNN, alpha 0.8 → 0 at epoch 3 · {SHARED}"
    assert found[f"{family}-4"] == f"MixNN · {SHARED}, no. 2"
    write_annotation(root / f"{family}-2", "many neighbors", "")
    (root / f"{family}-4").rename(root / "by-hand")
    found = run_names.labels()
    assert found[f"{family}-2"] == f"many neighbors: MixNN, K 20 · {SHARED}"
    assert found["by-hand"] == f"by-hand: MixNN · {SHARED}"


def test_every_list_shows_these_names(family):
    at = app("train", run=f"{family}-2")
    (shown,) = [box for box in at.selectbox if box.label == "Run shown"]
    assert f"MixNN, K 20 · {SHARED}" in shown.options
    assert f"Run MixNN, K 20 · {SHARED}" in texts(at)
    (several,) = app("compare").multiselect
    assert f"MixNN, alpha 0.8 → 0 at epoch 3 · {SHARED}" in several.options


def test_a_fork_stands_below_its_parent_and_names_its_change(root, template):
    shutil.copytree(template, root / "parent")
    runner = Runner.fork(root / "parent", 3, root / "child", k=1)
    runner.run()
    assert runner.status.state == "done", runner.status.error
    shutil.copytree(template, root / "other")
    frame = run_list.data_frame(run_table.rows(root), run_names.labels())
    names = frame["name"].tolist()
    assert names.index("child") == names.index("parent") + 1
    assert "└ child: MixNN" in frame["run"][names.index("child")]
    assert "forked after epoch 3: K 1" in frame["run"][names.index("child")]
    assert frame["parent"][names.index("child")] == "parent, epoch 3"


def test_its_owner_renames_notes_pins_and_deletes(root, finished):
    at = app("runs", marked=finished)
    assert "another visitor" not in texts(at)  # without a teacher a run of nobody is anybody's
    title, note = (box for box in at.text_input if box.label in ("Title", "Note"))
    title.set_value("first try")
    note.set_value("K is too small")
    next(button for button in at.button if button.label == "Save").click().run()
    assert not at.error
    found = read_annotation(root / finished)
    assert (found.title, found.note) == ("first try", "K is too small")
    assert "first try: MixNN" in at.dataframe[0].value["run"][0].split("#")[1]
    at.button(key=f"pin-{finished}").click().run()
    assert runs().info(finished).pinned
    assert not [button for button in at.button if button.key == "delete-marked"], "not the owner"


def test_the_owner_deletes(root):
    at = app("train", limit="200", epochs="1", warmup="0", correction_start="0")
    at.button(key="start").click().run()
    name = at.query_params["run"]
    wait_until(lambda: runs().info(name).state == "done")
    at._page_hash = calc_hash("runs")
    at.query_params["marked"] = name
    at.run()
    at.button(key="delete-marked").click().run()
    assert not at.error
    assert not (root / name).exists()
    assert "marked" not in at.query_params


def test_two_marked_runs_show_what_differs(root, template):
    forge(template, root / "a", k=3)
    forge(template, root / "b", k=9)
    forge(template, root / "ce", mixing="none", correction="none")
    at = app("runs", marked="a,b")
    table = at.dataframe[0].value
    assert table["Setting"].tolist() == ["K"]
    assert table.iloc[0, 1:].tolist() == ["3", "9"]
    player = next(str(one.proto) for one in at.get("page_link") if "Player" in str(one.proto))
    assert "against=a" in player
    assert "run=b" in player
    table = app("runs", marked="a,ce").dataframe[0].value.set_index("Setting")
    assert table.loc["method"].tolist() == ["mixnn", "ce"]
    assert table.loc["K"].tolist() == ["3", "not used"]


def test_a_name_by_others_is_a_name_in_the_table(root, template):
    shutil.copytree(template, root / "run")
    write_annotation(root / "run", "a#b](javascript:alert(1)) <b>", "")
    (link,) = app("runs").dataframe[0].value["run"]
    address, _, shown = link.partition("#")
    assert address == "train?run=run"
    assert "<" not in shown
    assert "(" not in shown
