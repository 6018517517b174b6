"""The title and the note that people give a run: `notes.json` in its folder, so they move with it.

The folder keeps its name, by which links, forks and decisions find it.
"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.errors import ConfigError, StoreError
from engine.files import read_json, write_json
from engine.runs import schema

FILE = "notes.json"
MOST_TITLE, MOST_NOTE = 80, 2000  # characters


@dataclass(frozen=True)
class Annotation:
    """What people call a run, and what they noted about it; "" where they did not."""

    title: str = ""
    note: str = ""


def read_annotation(folder: Path) -> Annotation:
    """The annotation of a run folder; empty where there is none or it cannot be read."""
    if not os.path.lexists(folder / FILE):
        return Annotation()
    try:
        value = read_json(Path(schema.own_path(folder, FILE)))
        found = Annotation(value["title"], value["note"])
        return _checked(found)
    except (StoreError, ConfigError, OSError, ValueError, KeyError, TypeError):
        return Annotation()  # a damaged note hides no run


def write_annotation(folder: Path, title: str, note: str) -> Annotation:
    """Store a title and a note of a run folder, "" for none.

    Raises ConfigError for a text that is too long, StoreError where it cannot be written.
    """
    found = _checked(Annotation(" ".join(title.split()), note.strip()))
    if not (folder / "config.json").is_file():
        raise StoreError(f"{folder.name} has not begun: it can be renamed once it trains")
    try:
        if found == Annotation():
            (folder / FILE).unlink(missing_ok=True)
        else:
            write_json(folder / FILE, asdict(found))
    except OSError as error:
        raise StoreError(f"the note on {folder.name} cannot be written: {error}") from None
    return found


def _checked(found: Annotation) -> Annotation:
    for name, text, most in (("title", found.title, MOST_TITLE), ("note", found.note, MOST_NOTE)):
        if not isinstance(text, str) or len(text) > most:
            raise ConfigError(
                f"{name} = {str(text)[:40]!r}...: allowed are at most {most:,} characters"
            )
    return found
