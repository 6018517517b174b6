"""What a class answered in the lesson: no names, one file per class, appended to by many at once.

A line is {"step", "answer", "token"}; of a token's lines for a step the last one counts, so that a
changed answer replaces one's own. A token says nothing but "the same browser as before in this
class": it is derived from the browser's own random token and the class code.
"""

import fcntl
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.errors import EngineError

FOLDER = ".answers"  # beside the runs; the dot keeps it out of their list
CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,23}")
CODE_WORDS = "letters, digits and hyphens, at most 24"
MOST_BYTES = 1 << 20  # of one class: about ten thousand answers
MOST_CLASSES = 1000


class AnswersError(EngineError, ValueError):
    """A class code or an answer that is not taken; the message says what is allowed."""


def class_code(text: str) -> str:
    """The code of a class as it stands in links. Raises AnswersError.

    >>> class_code(" 7b-Physics ")
    '7b-physics'
    """
    code = text.strip().lower()
    if not CODE.fullmatch(code):
        raise AnswersError(f"class code = {text[:40]!r}: allowed are {CODE_WORDS}")
    return code


def token(code: str, visitor: str) -> str:
    """What stands for a visitor in the list of one class; another class gives another one."""
    return hashlib.sha256(f"answers/{code}/{visitor}".encode()).hexdigest()[:16]


def record(root: Path, code: str, step: int, answer: str, token: str) -> None:
    """Note an answer; the same one again is not written twice. Raises AnswersError."""
    path = _path(root, code)
    path.parent.mkdir(exist_ok=True)
    if not path.exists() and len(list(path.parent.glob("*.jsonl"))) >= MOST_CLASSES:
        raise AnswersError(f"answers are kept of {MOST_CLASSES} classes, no more: clear old ones")
    line = json.dumps({"step": step, "answer": answer, "token": token}) + "\n"
    with _held(path, fcntl.LOCK_EX) as file:
        text = file.read()
        if _latest(text).get((step, token)) == answer:
            return
        if len(text) + len(line) > MOST_BYTES:
            raise AnswersError(f"the answers of {code} fill their file: a teacher has to clear it")
        torn = text and not text.endswith(b"\n")  # by a server that died while it wrote
        os.write(file.fileno(), b"\n" * bool(torn) + line.encode())


def counts(root: Path, code: str, step: int) -> Counter[str]:
    """How many gave each answer to a step."""
    latest = _read(root, code)
    return Counter(answer for (of, _), answer in latest.items() if of == step)


def mine(root: Path, code: str, token: str) -> dict[int, str]:
    """What one token answered: step -> answer."""
    return {step: a for (step, of), a in _read(root, code).items() if of == token}


def clear(root: Path, code: str) -> None:
    """Forget all answers of a class."""
    path = _path(root, code)
    if path.exists():
        with _held(path, fcntl.LOCK_EX) as file:
            file.truncate(0)


def _path(root: Path, code: str) -> Path:
    return Path(root) / FOLDER / f"{class_code(code)}.jsonl"


def _read(root: Path, code: str) -> dict[tuple[int, str], str]:
    path = _path(root, code)
    if not path.exists():
        return {}
    with _held(path, fcntl.LOCK_SH) as file:
        return _latest(file.read())


@contextmanager
def _held(path: Path, lock: int) -> Iterator[Any]:
    """The file of a class, open for appending and locked against other threads and processes."""
    with open(path, "a+b", buffering=0) as file:
        fcntl.flock(file, lock)
        file.seek(0)
        yield file


def _latest(text: bytes) -> dict[tuple[int, str], str]:
    """(step, token) -> answer; lines that cannot be read are passed over."""
    latest = {}
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            latest[int(entry["step"]), str(entry["token"])] = str(entry["answer"])
        except (ValueError, KeyError, TypeError):
            continue
    return latest
