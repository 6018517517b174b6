"""Classes of the lesson: who may do what, first predictions that stay, codes, presence."""

import re

import pytest

from app.server import class_answers, classes
from app.server.class_answers import AFTER, AGAIN, BEFORE, NAME, token
from app.server.classes import ALPHABET, ClassError, Doorkeeper
from app.server.storage import storage_of
from app.server.visitors import Visitor

TEACHER, ANN = Visitor("noether", teacher=True), Visitor("ann")


def start(root, who=TEACHER, **settings) -> str:
    return classes.start(root, who, rate=0.4, seed=0, **settings).code


def stored(root, code, who=ANN) -> dict[int, str]:
    return class_answers.mine(root, code, token(code, who.id))


def test_only_a_teacher_starts_a_class_where_there_is_one(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNN_PASSCODE", "owl")
    with pytest.raises(ClassError, match="only a teacher starts a class"):
        start(tmp_path, ANN)
    code = start(tmp_path)
    assert re.fullmatch(f"[{ALPHABET}]{{6}}", code)
    monkeypatch.delenv("MIXNN_PASSCODE")
    assert start(tmp_path, ANN) != code


@pytest.mark.parametrize("changes", [{"given": (1,)}, {"voting": False}, {"phase": "end"}])
def test_only_who_started_a_class_changes_it(tmp_path, monkeypatch, changes):
    monkeypatch.setenv("MIXNN_PASSCODE", "owl")
    code = start(tmp_path)
    before = classes.find(tmp_path, code)
    other = Visitor("galois", teacher=True)
    for who in (ANN, other):
        with pytest.raises(ClassError, match="another browser started it"):
            classes.change(tmp_path, code, who, **changes)
    assert classes.find(tmp_path, code) == before
    with pytest.raises(ClassError):
        classes.take_over(tmp_path, code, ANN)
    classes.take_over(tmp_path, code, other)  # as from another computer
    assert classes.change(tmp_path, code, other, **changes) == classes.find(tmp_path, code)


def test_a_prediction_may_change_until_its_result_is_shown(tmp_path):
    code = start(tmp_path)
    classes.answer(tmp_path, code, 1, "rise", ANN)
    classes.answer(tmp_path, code, 1, "peak", ANN)
    assert stored(tmp_path, code) == {1: "peak"}
    classes.change(tmp_path, code, TEACHER, given=(1,))
    classes.answer(tmp_path, code, 1, "dip", ANN)
    late = Visitor("bob")
    classes.answer(tmp_path, code, 1, "dip", late)
    assert stored(tmp_path, code) == {1: "peak", 1 + AGAIN: "dip"}
    assert stored(tmp_path, code, late) == {1 + AGAIN: "dip"}  # not a prediction any more


def test_without_holding_the_first_answer_stays_at_once(tmp_path):
    code = start(tmp_path, held=False)
    classes.answer(tmp_path, code, 1, "rise", ANN)
    classes.answer(tmp_path, code, 1, "peak", ANN)
    assert stored(tmp_path, code) == {1: "rise", 1 + AGAIN: "peak"}
    classes.change(tmp_path, code, TEACHER, held=True)  # ann has seen this result
    classes.answer(tmp_path, code, 1, "dip", ANN)
    assert stored(tmp_path, code) == {1: "rise", 1 + AGAIN: "dip"}


@pytest.mark.parametrize("changes", [{"voting": False}, {"phase": "end"}, {"step": 2}])
def test_closed_voting_takes_no_prediction(tmp_path, changes):
    code = start(tmp_path)
    classes.change(tmp_path, code, TEACHER, **changes)
    with pytest.raises(ClassError, match="voting is closed"):
        classes.answer(tmp_path, code, 1, "rise", ANN)
    assert stored(tmp_path, code) == {}


def test_questions_are_answered_once_and_in_their_time(tmp_path):
    code = start(tmp_path, phase="before")
    classes.fill_in(tmp_path, code, BEFORE, {1: "0", 2: "?"}, ANN)
    classes.fill_in(tmp_path, code, BEFORE, {1: "2"}, ANN)
    with pytest.raises(ClassError, match="closed"):
        classes.fill_in(tmp_path, code, AFTER, {1: "2"}, ANN)
    assert stored(tmp_path, code) == {BEFORE + 1: "0", BEFORE + 2: "?"}


def test_names_are_short_and_only_where_asked_for(tmp_path):
    with pytest.raises(ClassError, match="anonymous"):
        classes.give_name(tmp_path, start(tmp_path), "Ann", ANN)
    code = start(tmp_path, names=True)
    with pytest.raises(ClassError, match="at least one letter"):
        classes.give_name(tmp_path, code, " \n\t", ANN)
    classes.give_name(tmp_path, code, "=1+1\n\x1b[31m" + 60 * "x", ANN)
    assert stored(tmp_path, code) == {NAME: "=1+1 [31m" + 31 * "x"}


def test_codes_are_not_found_by_trying(tmp_path, monkeypatch):
    code, door = start(tmp_path), Doorkeeper()
    for n in range(classes.TRIES):
        with pytest.raises(ClassError, match="There is no class"):
            door.find(tmp_path, f"x{n}", ANN)
    with pytest.raises(ClassError, match="too many wrong class codes"):
        door.find(tmp_path, code, ANN)
    assert door.find(tmp_path, f" {code.upper()}", Visitor("bob")).code == code
    monkeypatch.setattr(classes, "TRIES_OF_ADDRESS", classes.TRIES)
    with pytest.raises(ClassError, match="too many"):  # a new cookie does not help
        door.find(tmp_path, code, Visitor("a new cookie"))
    classes.answer(tmp_path, code, 1, "rise", ANN)
    assert door.find(tmp_path, code, ANN).code == code  # who is in the class stays in it


def test_a_class_is_full_at_some_point(tmp_path, monkeypatch):
    monkeypatch.setattr(classes, "MOST_STUDENTS", 1)
    code, door = start(tmp_path), Doorkeeper()
    classes.answer(tmp_path, code, 1, "rise", ANN)
    with pytest.raises(ClassError, match="is full"):
        classes.answer(tmp_path, code, 1, "rise", Visitor("bob"))
    for me in ("a", "b", "a"):
        door.note(code, me, 1, me == "a")
    assert door.present(code) == {"a": (1, True)}
    monkeypatch.setattr(classes, "HERE", 0.0)
    assert door.present(code) == {}


def test_old_classes_go_with_their_answers(tmp_path, monkeypatch):
    code = start(tmp_path)
    classes.answer(tmp_path, code, 1, "rise", ANN)
    monkeypatch.setattr(classes, "KEPT_DAYS", -1)
    start(tmp_path)
    assert classes.find(tmp_path, code) is None
    assert storage_of(tmp_path).read("SELECT * FROM answers") == []
    with pytest.raises(ClassError, match="does not exist any more"):
        classes.answer(tmp_path, code, 1, "rise", ANN)
