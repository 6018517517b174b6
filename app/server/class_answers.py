"""Answers of a class in the lesson; see `storage`, table `answers`.

They are stored by the number of a question: 1 to 6 are the first predictions of the steps, others
are counted apart from these (AGAIN, BEFORE, AFTER, NAME). A token only identifies the same browser
within one class: it is a hash of the browser's random token and the class code. Which answer is
allowed when: `classes`.
"""

import hashlib
import re
from collections import Counter
from pathlib import Path

from app.server.storage import storage_of
from engine.errors import EngineError

CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,23}")
CODE_WORDS = "letters, digits and hyphens, at most 24"
MOST_BYTES = 1 << 20  # of one class: about ten thousand answers
ROW_BYTES = 60  # of an answer in addition to its text
MOST_CLASSES = 1000
NAME = 0  # the question for a name, in a class that asks for one
AGAIN, BEFORE, AFTER = 100, 200, 300  # added to the number of a question: an answer that was given
# after the result was seen, and answers to the questions before and after the lesson


class AnswersError(EngineError, ValueError):
    """A class code or an answer that is refused; the message says what is allowed."""


def class_code(text: str) -> str:
    """The code of a class as it appears in links. Raises AnswersError.

    >>> class_code(" 7b-Physics ")
    '7b-physics'
    """
    code = text.strip().lower()
    if not CODE.fullmatch(code):
        raise AnswersError(f"class code = {text[:40]!r}: allowed are {CODE_WORDS}")
    return code


def token(code: str, visitor: str) -> str:
    """The anonymous token of a visitor in one class; it differs between classes."""
    return hashlib.sha256(f"answers/{code}/{visitor}".encode()).hexdigest()[:16]


def record(
    root: Path, code: str, step: int, answer: str, token: str, *, keep: bool = False
) -> None:
    """Store an answer. keep: an earlier one stays, instead of being replaced.

    Raises AnswersError, StorageError.
    """
    code = class_code(code)
    with storage_of(root).transaction() as connection:
        ((size, of_all),) = connection.execute(
            "SELECT (SELECT total(length(CAST(answer AS BLOB)) + ?) FROM answers WHERE class = ?), "
            "(SELECT count(DISTINCT class) FROM answers)",
            (ROW_BYTES, code),
        )
        if not size and of_all >= MOST_CLASSES:
            raise AnswersError(
                f"answers of {MOST_CLASSES} classes are stored, the most allowed: clear old ones"
            )
        if size + ROW_BYTES + len(answer.encode()) > MOST_BYTES:
            raise AnswersError(
                f"too many answers of {code} are stored: a teacher has to clear them"
            )
        replaced = "SET answer = excluded.answer WHERE answer <> excluded.answer"
        connection.execute(
            "INSERT INTO answers VALUES (?, ?, ?, ?) ON CONFLICT DO "
            + ("NOTHING" if keep else f"UPDATE {replaced}"),
            (code, step, token, answer),
        )


def counts(root: Path, code: str, step: int) -> Counter[str]:
    """Visitors per answer to a question, without empty ones. Raises AnswersError, StorageError."""
    query = (
        "SELECT answer, count(*) FROM answers WHERE class = ? AND step = ? AND answer <> '' "
        "GROUP BY answer"
    )
    return Counter(dict(storage_of(root).read(query, class_code(code), step)))


def mine(root: Path, code: str, token: str) -> dict[int, str]:
    """The answers of one token: step -> answer. Raises AnswersError, StorageError."""
    query = "SELECT step, answer FROM answers WHERE class = ? AND token = ?"
    return dict(storage_of(root).read(query, class_code(code), token))


def of_class(root: Path, code: str) -> dict[str, dict[int, str]]:
    """All answers of a class: token -> question -> answer. Raises AnswersError, StorageError."""
    answers: dict[str, dict[int, str]] = {}
    query = "SELECT token, step, answer FROM answers WHERE class = ? ORDER BY token, step"
    for token, question, answer in storage_of(root).read(query, class_code(code)):
        answers.setdefault(token, {})[question] = answer
    return answers


def clear(root: Path, code: str) -> None:
    """Remove all answers of a class. Raises AnswersError, StorageError."""
    with storage_of(root).transaction() as connection:
        connection.execute("DELETE FROM answers WHERE class = ?", (class_code(code),))
