"""The wall: its modules' own tests, what it sends and receives, and the page around it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from app.components import wall
from app.server.decisions import Decision, Reviews, Step
from app.server.label_issues import issues_of
from app.server.run_manager import runs
from app.server.run_view import RunView
from app.views.your_data import review_wall
from app.views.your_data.reviews import READ_ONLY, reviews_of
from engine.analysis.review_order import by_look_alikes, by_pair
from tests.app.conftest import app, locked

ROOT = Path(__file__).resolve().parents[3]
NODE = shutil.which("node")
GIVEN = np.array([0, 1, 2, 0])


def sent(at) -> dict:
    (component,) = [c for c in at.get("bidi_component") if c.proto.component_name == "mixnn.wall"]
    return json.loads(component.proto.json)


@pytest.mark.skipif(NODE is None, reason="no node")
def test_unit_tests_of_the_modules():
    files = sorted((Path(__file__).parent / "wall").glob("*.test.mjs"))
    imports = "\n".join(f"import {json.dumps(file.as_uri())};" for file in files)
    command = [str(NODE), "--input-type=module", "-e", imports]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-8000:] + ended.stderr


def test_no_module_inserts_markup():
    for file in wall.HERE.glob("*.js"):
        code = file.read_text()
        assert code.startswith("// @ts-check")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", code), file


def test_a_step_is_a_decision_on_each_sample():
    queue = [
        {"number": 1, "kind": "label", "samples": [0, 1], "labels": [0, 0]},
        {"number": 2, "kind": "remove", "samples": [2]},
        {"number": 3, "kind": "undo", "samples": [0, 1]},
    ]
    assert wall.steps_of({"queues": {"tab": queue}}, GIVEN) == {
        "tab": [
            Step(1, ((0, "keep", 0), (1, "change", 0))),
            Step(2, ((2, "remove", 2),)),
            Step(3, undone=(0, 1)),
        ]
    }


@pytest.mark.parametrize(
    "queues",
    [
        [],
        {"": []},
        {"x" * 100: []},
        {"tab": {}},
        {"tab": [{"number": "1", "kind": "remove", "samples": [0]}]},
        {"tab": [{"number": 1, "kind": "burn", "samples": [0]}]},
        {"tab": [{"number": 1, "kind": "label", "samples": [0, 1], "labels": [0]}]},
        {"tab": [{"number": 1, "kind": "remove", "samples": [True]}]},
        {"tab": [{"kind": "remove", "samples": 3}]},
        {"tab": [None]},
    ],
)
def test_a_message_that_is_not_the_walls_is_refused(queues, tmp_path):
    (tmp_path / "run").mkdir()
    reviews = Reviews(tmp_path / "run", 4, 3)
    answer = review_wall.receive("run", reviews, GIVEN, {"message": "m", "queues": queues or [1]})
    assert "cannot be read" in answer.problem
    assert reviews.log() == []


def test_the_page_sends_book_and_decisions_and_stores_a_message_once(finished, root):
    reviews_of(finished).decide(7, "skip", 0, by="somebody")
    at = app("your_data", step="review", run=finished, desk_view="wall")
    data = sent(at)
    issues, n = issues_of(RunView(finished)), len(RunView(finished).labels["given"])
    assert data["log"][:2] == [7, 0]
    assert data["log"][2] & 3 == 2
    assert not data["readOnly"]
    assert data["book"]
    assert list(data["sheets"]) == ["0"]
    queue = [{"number": 1, "kind": "label", "samples": [0, 1], "labels": [3, 3]}]
    message = {"message": "m1", "queues": {"tab": queue}}
    reviews = reviews_of(finished)
    for _ in range(2):
        answer = review_wall.receive(finished, reviews, issues.given, message)
        assert (answer.applied, answer.problem) == ({"tab": 1}, "")
    assert len(reviews.log()) == 3
    assert {d.at for d in reviews.log()[1:]} == {reviews.latest()[0].at}
    broken = [{"number": 2, "kind": "remove", "samples": [n]}]
    answer = review_wall.receive(finished, reviews, issues.given, {"queues": {"tab": broken}})
    assert answer.applied == {"tab": 2}
    assert f"sample {n}" in answer.refusals[0]


def test_what_cannot_be_stored_is_not_acknowledged(finished, root):
    reviews = reviews_of(finished)
    queue = [{"number": 1, "kind": "remove", "samples": [0]}]
    message = {"message": "m", "queues": {"tab": queue}}
    with locked(reviews._storage):
        answer = review_wall.receive(finished, reviews, GIVEN, message)
    assert answer.applied == {}
    assert "Nothing was changed" in answer.problem


def test_a_visitor_who_may_not_decide_only_looks(finished, root, monkeypatch):
    monkeypatch.setattr(type(runs()), "may_control", lambda *a: False)
    at = app("your_data", step="review", run=finished, desk_view="wall")
    assert sent(at)["readOnly"] == READ_ONLY
    queue = [{"number": 1, "kind": "remove", "samples": [0]}]
    reviews = reviews_of(finished)
    answer = review_wall.receive(finished, reviews, GIVEN, {"queues": {"tab": queue}})
    assert answer.problem == READ_ONLY
    assert reviews.log() == []


def test_rows_say_whose_a_decision_is_and_where_a_group_starts():
    log = [
        Decision(4, "keep", 1, "t1", "ann"),
        Decision(5, "remove", 2, "t1", "ann"),
        Decision(4, "change", 0, "t1", "bob"),
        Decision(6, "skip", 0, "t2", "ann"),
    ]
    assert wall.rows_of(log, "ann") == [4, 1, 12, 5, 2, 7, 4, 0, 9, 6, 0, 14]


# --- groups


def test_pairs_are_ordered_by_expected_wrong_labels_agreement_last():
    given, suggested = np.array([0, 1, 0, 2, 1, 0]), np.array([1, 0, 1, 2, 1, 1])
    grouping = by_pair(given, suggested, np.array([0.5, 0.9, 0.4, 0.3, 0.2, 0.1]))
    assert grouping.order.tolist() == [0, 2, 5, 1, 3, 4]
    assert grouping.sizes.tolist() == [3, 1, 1, 1]
    assert grouping.given.tolist() == [0, 1, 2, 1]
    assert grouping.suggested.tolist() == [1, 0, 2, 1]


def test_look_alikes_are_nearest_neighbors_of_each_other(finished):
    view = RunView(finished)
    n = len(view.labels["given"])
    order = np.arange(n)[::-1]
    wrong = np.linspace(1, 0, n)
    grouping = by_look_alikes(view.run, view.row, order, view.labels["given"][order], wrong)
    assert sorted(grouping.order.tolist()) == list(range(n))
    assert grouping.sizes.sum() == n
    features = np.array(view.run.array("panel_features")[view.row], dtype=np.float64)
    panel = view.run.labels["panel"]
    place = {int(sample): i for i, sample in enumerate(panel)}
    first = order[grouping.order[: grouping.sizes[0]]]
    assert len(first) > 1
    seed = place[int(first[0])]
    for other in (place[int(sample)] for sample in first[1:]):
        for a, b in ((seed, other), (other, seed)):
            distances = ((features - features[a]) ** 2).sum(1)
            distances[a] = np.inf
            assert (distances < distances[b]).sum() < 12
