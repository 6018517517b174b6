"""Titles and notes of runs: they move with the folder, and damaged ones hide nothing."""

import shutil

import pytest

from engine.errors import ConfigError, StoreError
from engine.runs.annotation import Annotation, read_annotation, write_annotation


def test_a_note_moves_with_the_folder(root, template):
    shutil.copytree(template, root / "run")
    write_annotation(root / "run", " Alpha\n zero ", "falls after epoch 5 ")
    (root / "run").rename(root / "elsewhere")
    assert read_annotation(root / "elsewhere") == Annotation("Alpha zero", "falls after epoch 5")
    write_annotation(root / "elsewhere", "", "")
    assert not (root / "elsewhere" / "notes.json").exists()


def test_what_is_too_long_or_too_early_is_refused(root, template):
    shutil.copytree(template, root / "run")
    with pytest.raises(ConfigError, match="title = 'aaa.*at most 80 characters"):
        write_annotation(root / "run", "a" * 81, "")
    (root / "reserved").mkdir()
    with pytest.raises(StoreError, match="reserved has not begun"):
        write_annotation(root / "reserved", "a", "")
    assert not list((root / "reserved").iterdir())


@pytest.mark.parametrize("text", ["", "[]", '{"title": 3, "note": ""}', '{"title": "a"}'])
def test_a_damaged_note_is_none(root, template, text):
    shutil.copytree(template, root / "run")
    (root / "run" / "notes.json").write_text(text)
    assert read_annotation(root / "run") == Annotation()
