"""The collected answers: many at once, changed ones, limits, codes."""

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.server import class_answers
from app.server.class_answers import AnswersError, class_code, clear, counts, mine, record, token
from app.server.storage import StorageError, storage_of
from tests.app.conftest import locked

CODE = "7b"


def rows(root):
    return storage_of(root).read("SELECT * FROM answers WHERE class = ?", CODE)


def test_answers_are_counted_and_a_changed_one_replaces_ones_own(tmp_path):
    record(tmp_path, CODE, 1, "rise", "ann")
    record(tmp_path, CODE, 1, "peak", "bob")
    record(tmp_path, CODE, 2, "large", "bob")
    assert counts(tmp_path, CODE, 1) == {"rise": 1, "peak": 1}
    record(tmp_path, CODE, 1, "peak", "ann")
    assert counts(tmp_path, CODE, 1) == {"peak": 2}
    assert mine(tmp_path, CODE, "bob") == {1: "peak", 2: "large"}
    assert len(rows(tmp_path)) == 3


def test_two_classes_do_not_mix(tmp_path):
    record(tmp_path, CODE, 1, "rise", "ann")
    assert counts(tmp_path, "8c", 1) == {}
    clear(tmp_path, "8c")
    assert counts(tmp_path, CODE, 1) == {"rise": 1}
    clear(tmp_path, CODE)
    assert counts(tmp_path, CODE, 1) == {}


def test_the_same_answer_again_writes_nothing(tmp_path):
    record(tmp_path, CODE, 1, "rise", "ann")
    changes = storage_of(tmp_path).read("SELECT total_changes()")
    for _ in range(3):
        record(tmp_path, CODE, 1, "rise", "ann")
    assert storage_of(tmp_path).read("SELECT total_changes()") == changes
    assert len(rows(tmp_path)) == 1


def test_no_name_and_no_visitor_is_stored(tmp_path):
    record(tmp_path, CODE, 1, "rise", token(CODE, "visitor-of-ann"))
    (row,) = rows(tmp_path)
    assert row == (CODE, 1, token(CODE, "visitor-of-ann"), "rise")
    assert "ann" not in str(row)
    assert token(CODE, "ann") == token(CODE, "ann") != token("8c", "ann")


@pytest.mark.parametrize("n_each", [5])
def test_thirty_threads_at_once_lose_nothing(tmp_path, n_each):
    together = threading.Barrier(30)

    def student(number: int) -> None:
        together.wait()
        for step in range(n_each):
            record(tmp_path, CODE, step, f"answer {number % 3}", f"token {number}")

    with ThreadPoolExecutor(30) as pool:
        list(pool.map(student, range(30)))
    for step in range(n_each):
        assert counts(tmp_path, CODE, step) == {f"answer {i}": 10 for i in range(3)}
    assert len(rows(tmp_path)) == 30 * n_each


def test_an_answer_that_cannot_be_stored_is_refused(tmp_path):
    record(tmp_path, CODE, 1, "rise", "ann")
    with locked(storage_of(tmp_path)):
        assert counts(tmp_path, CODE, 1) == {"rise": 1}  # readers do not wait
        with pytest.raises(StorageError, match="another program has locked it; try again"):
            record(tmp_path, CODE, 1, "peak", "bob")
    assert counts(tmp_path, CODE, 1) == {"rise": 1}
    record(tmp_path, CODE, 1, "peak", "bob")
    assert counts(tmp_path, CODE, 1) == {"rise": 1, "peak": 1}


def _process(job) -> None:
    root, number = job
    for step in range(5):
        record(root, CODE, step, "x" * 2000, f"token {number}")


def test_processes_at_once_lose_nothing(tmp_path):
    with multiprocessing.get_context("fork").Pool(3) as pool:
        pool.map(_process, [(tmp_path, number) for number in range(12)], chunksize=1)
    assert all(counts(tmp_path, CODE, step).total() == 12 for step in range(5))


@pytest.mark.parametrize("code", ["", "a" * 25, "../x", "a/b", "-a", "ä", "a b", ".x"])
def test_a_code_is_a_plain_word(tmp_path, code):
    with pytest.raises(AnswersError, match="letters, digits and hyphens"):
        record(tmp_path, code, 1, "rise", "ann")
    assert rows(tmp_path) == []


def test_a_code_is_taken_as_people_write_it():
    assert class_code(" 7B-Physics") == "7b-physics"


def test_a_class_and_all_classes_have_their_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(class_answers, "MOST_BYTES", 150)
    record(tmp_path, CODE, 1, "rise", "ann")
    with pytest.raises(AnswersError, match="a teacher has to clear them"):
        record(tmp_path, CODE, 2, "x" * 200, "ann")
    assert counts(tmp_path, CODE, 1) == {"rise": 1}
    monkeypatch.setattr(class_answers, "MOST_CLASSES", 1)
    with pytest.raises(AnswersError, match="1 classes"):
        record(tmp_path, "8c", 1, "rise", "ann")
    record(tmp_path, CODE, 1, "peak", "ann")
