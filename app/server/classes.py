"""Classes of the lesson: what each may do and see now, which only the one who started it decides.

A class is an entry "classes" of the storage, by its code. Whoever knows the code may join, so a
code is random, and wrong ones are limited. Who is present is known in memory only.
"""

import secrets
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import streamlit as st

from app.server import class_answers
from app.server.class_answers import AGAIN, AnswersError, class_code, token
from app.server.storage import storage_of
from app.server.visitors import Visitor, has_teacher

ALPHABET = "bcdfghjkmnpqrstvwxz23456789"  # no letters that read like digits, and no words
CODE_LENGTH = 6  # 27**6: at the limits below, a code is found after centuries
TRIES = 10  # wrong codes of one browser in MINUTES
TRIES_OF_ADDRESS = 300  # of one address: thirty students, each of whom mistypes it ten times
MINUTES = 10
MOST_REMEMBERED = 10_000  # browsers and addresses with wrong codes
MOST_STUDENTS = 300  # of one class
HERE = 45.0  # seconds after which a browser that sent nothing is not counted as present
KEPT_DAYS = 180  # a class and its answers
DAY = 24 * 3600
PHASES = ("before", "lesson", "after", "end")


class ClassError(AnswersError):
    """Something that a class, or this visitor in it, may not do; the message says why."""


class NoClassError(ClassError):
    """A code that no class has."""


@dataclass(frozen=True)
class Class:
    """The state of a class. Steps are numbers, 1 to 6."""

    code: str
    owner: str  # id of the visitor who started it
    started: float  # seconds since 1970
    rate: float  # noise rate of the lesson's runs
    seed: int
    names: bool = False  # whether students give a name
    questions: bool = True  # whether it answers the questions before and after the lesson
    phase: str = "lesson"  # one of PHASES
    step: int = 1  # where all are, if `together`
    together: bool = True
    voting: bool = True  # whether answers are taken
    held: bool = True  # whether results wait until they are given; else each follows one's answer
    given: tuple[int, ...] = ()  # steps whose result everybody sees

    def shows_result(self, step: int, answered: bool) -> bool:
        """Whether a student sees the result of a step. answered: the student has an answer."""
        return step in self.given or (answered and not self.held)

    def takes_prediction(self, step: int) -> bool:
        """Whether students may predict at a step."""
        reached = step == self.step or not self.together
        return self.phase == "lesson" and self.voting and reached and step not in self.given


def find(root: Path, code: str) -> Class | None:
    """The class with a code; None if there is none. Raises StorageError."""
    entry = storage_of(root).table("classes").get(code)
    return None if entry is None else Class(**entry | {"given": tuple(entry["given"])})


def of_owner(root: Path, who: Visitor) -> list[Class]:
    """The classes that a visitor started, newest first."""
    codes = storage_of(root).table("classes")
    mine = [c for code in codes if (c := find(root, code)) is not None and c.owner == who.id]
    return sorted(mine, key=lambda one: -one.started)


def may_start(who: Visitor) -> bool:
    """Whether a visitor may start a class: the teacher; anyone if the server has no teacher."""
    return who.teacher or not has_teacher()


def start(root: Path, who: Visitor, **settings: Any) -> Class:
    """Start a class with a new code; settings: fields of Class. Removes classes that are too old.

    Raises ClassError, StorageError.
    """
    if not may_start(who):
        raise ClassError("only a teacher starts a class: enter the passcode first")
    storage, now = storage_of(root), time.time()
    with storage.transaction():
        for code, entry in list(storage.table("classes").items()):
            if entry["started"] < now - KEPT_DAYS * DAY:
                remove(root, code)
        taken = storage.table("classes")
        if len(taken) >= class_answers.MOST_CLASSES:
            raise ClassError(f"{len(taken)} classes are stored, the most allowed")
        new = (_random_code() for _ in range(100))
        code = next(code for code in new if code not in taken)
        started = Class(code, who.id, now, **settings)
        storage.put("classes", code, asdict(started))
    return started


def change(root: Path, code: str, who: Visitor, **changes: Any) -> Class:
    """Change fields of a class, by the one who started it. Raises ClassError, StorageError."""
    with storage_of(root).transaction():
        before = owned(root, code, who)
        given = set(changes.get("given", before.given))
        if changes.get("held") and not before.held:  # who had answered has seen the result
            answers = class_answers.of_class(root, code).values()
            given |= {step for one in answers for step in one if 0 < step < AGAIN}
        after = replace(before, **changes | {"given": tuple(sorted(given))})
        storage_of(root).put("classes", code, asdict(after))
    return after


def owned(root: Path, code: str, who: Visitor) -> Class:
    """A class that the visitor started. Raises ClassError if it is missing or another's."""
    one = find(root, code)
    if one is None or one.owner != who.id:
        raise ClassError(f"class {code} does not exist, or another browser started it")
    return one


def take_over(root: Path, code: str, who: Visitor) -> None:
    """Make a teacher the owner of a class, such as one started in another browser.

    Raises ClassError, StorageError.
    """
    with storage_of(root).transaction():
        one = find(root, code)
        if one is None or not (who.teacher and has_teacher()):
            raise ClassError("only a teacher takes over a class: enter the passcode first")
        storage_of(root).put("classes", code, asdict(replace(one, owner=who.id)))


def remove(root: Path, code: str) -> None:
    """Remove a class with all its answers."""
    with storage_of(root).transaction():
        class_answers.clear(root, code)
        storage_of(root).put("classes", code, None)


def answer(root: Path, code: str, question: int, text: str, who: Visitor) -> None:
    """Store a student's answer to a step, as a first prediction or as one after the result.

    A prediction may change until its result is shown; from then on it stays, and another answer
    is stored beside it (question + AGAIN). Raises ClassError, StorageError.
    """
    with storage_of(root).transaction():
        one, me = _member(root, code, who), token(code, who.id)
        predicted = question in class_answers.mine(root, code, me)
        if one.shows_result(question, predicted):
            if text:  # nothing to store if it was skipped
                class_answers.record(root, code, question + AGAIN, text, me)
        elif one.takes_prediction(question):
            class_answers.record(root, code, question, text, me)
        else:
            raise ClassError("voting is closed: this answer was not counted")


def fill_in(root: Path, code: str, offset: int, answers: dict[int, str], who: Visitor) -> None:
    """Store answers to the questions before or after the lesson; the first ones stay.

    offset: BEFORE or AFTER. Raises ClassError, StorageError.
    """
    phase = {class_answers.BEFORE: "before", class_answers.AFTER: "after"}[offset]
    with storage_of(root).transaction():
        if _member(root, code, who).phase != phase:
            raise ClassError("these questions are closed: the answers were not counted")
        for number, text in answers.items():
            me = token(code, who.id)
            class_answers.record(root, code, offset + number, text, me, keep=True)


def give_name(root: Path, code: str, name: str, who: Visitor) -> None:
    """Store a student's name, without control characters. Raises ClassError, StorageError."""
    name = " ".join("".join(c if c.isprintable() else " " for c in name).split())[:40]
    if not name:
        raise ClassError("a name needs at least one letter")
    with storage_of(root).transaction():
        if not _member(root, code, who).names:
            raise ClassError("this class is anonymous")
        class_answers.record(root, code, class_answers.NAME, name, token(code, who.id))


def _member(root: Path, code: str, who: Visitor) -> Class:
    """The class, if it has room for the visitor. Raises ClassError."""
    one, me = find(root, code), token(code, who.id)
    if one is None:
        raise ClassError(f"class {code} does not exist any more")
    if not class_answers.mine(root, code, me):
        query = "SELECT count(DISTINCT token) FROM answers WHERE class = ?"
        ((n,),) = storage_of(root).read(query, code)
        if n >= MOST_STUDENTS:
            raise ClassError(f"class {code} is full: {n} browsers have answered")
    return one


def _random_code() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))


class Doorkeeper:
    """Counts wrong codes, and who is present in each class. Methods may be called by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wrong: dict[str, deque[float]] = {}  # browser or address -> times
        self._here: dict[str, dict[str, tuple[float, int, bool]]] = {}

    def find(self, root: Path, text: str, who: Visitor) -> Class:
        """The class of a code as a visitor typed it. Raises ClassError, also after too many."""
        code = class_code(text.replace(" ", ""))
        one = find(root, code)
        if one is not None and class_answers.mine(root, code, token(code, who.id)):
            return one  # a student who comes back does not wait for those who guess
        limits = {who.id: TRIES, f"at {who.address}": TRIES_OF_ADDRESS}
        with self._lock:
            if any(self._count(name) >= most for name, most in limits.items()):
                raise ClassError("too many wrong class codes: try again in a few minutes")
            if one is not None:
                return one
            for name, most in limits.items():
                times = self._wrong.pop(name, deque(maxlen=most))
                times.append(time.monotonic())
                self._wrong[name] = times  # last: the oldest is dropped first
                if len(self._wrong) > MOST_REMEMBERED:
                    del self._wrong[next(iter(self._wrong))]
        raise NoClassError(f"There is no class {code} on this server: check the code")

    def _count(self, name: str) -> int:
        after = time.monotonic() - 60 * MINUTES
        return sum(at > after for at in self._wrong.get(name, ()))

    def note(self, code: str, me: str, step: int, answered: bool) -> None:
        """Note that a student is at a step, and whether it has an answer. me: a token."""
        with self._lock:
            here = self._here.setdefault(code, {})
            if me in here or len(here) < MOST_STUDENTS:
                here[me] = time.monotonic(), step, answered

    def present(self, code: str) -> dict[str, tuple[int, bool]]:
        """Who is present: token -> step, and whether it has an answer."""
        after = time.monotonic() - HERE
        with self._lock:
            here = {me: one for me, one in self._here.get(code, {}).items() if one[0] > after}
            self._here[code] = here
            return {me: (step, answered) for me, (_, step, answered) in here.items()}


@st.cache_resource(show_spinner=False)
def doorkeeper() -> Doorkeeper:
    """The server's one Doorkeeper."""
    return Doorkeeper()
