"""The class kit: versions for students and instructors, and their grades."""

import json
import subprocess
import sys

import nbformat
import pytest

from engine.cli.parser import main
from engine.reports import classkit
from tests.execute_notebooks import cleaned, graded

TASK = """## Exercise 1

Double `x`.

<details><summary>Solution</summary>

Twice two is four.

```python
doubled = 2 * x
print(doubled)
assert doubled == 4
assert x == 2
assert isinstance(
    doubled, int
)  # hidden
```

</details>"""


@pytest.fixture
def notebooks(monkeypatch, tmp_path):
    """A folder with one small notebook and a plan, in place of the project's."""
    new = nbformat.v4
    cells = [
        new.new_markdown_cell(
            "# 1. Small\n\n**After this notebook you can explain**\n\n- doubling &lt;b>"
        ),
        new.new_code_cell("x = 2"),
        new.new_markdown_cell(TASK),
    ]
    folder = tmp_path / "notebooks"
    folder.mkdir()
    nbformat.write(cleaned(new.new_notebook(cells=cells)), folder / "01_small.ipynb")
    (folder / classkit.PLAN).write_text("## The plan")
    monkeypatch.setattr(classkit, "NOTEBOOKS", folder)
    return folder


def test_an_exercise_is_task_solution_and_what_is_asserted_about_it(notebooks):
    (found,) = classkit.exercises(nbformat.read(notebooks / "01_small.ipynb", 4))
    assert found.task == "Double `x`."
    assert found.explanation == "Twice two is four."
    assert found.code == "doubled = 2 * x\nprint(doubled)"
    assert found.names == ("doubled",)
    # x == 2 holds without an answer
    assert [line.partition("\n")[0] for line in found.assertions] == [
        "assert doubled == 4",
        "assert isinstance(",
    ]
    assert found.prompt == "# Your answer\ndoubled = ..."


def test_an_exercise_without_assertions_is_refused():
    cell = nbformat.v4.new_markdown_cell(TASK.replace("assert doubled", "print(doubled)  # "))
    broken = cell.source.replace("assert isinstance", "print").replace(")  # hidden", ")")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(broken)])
    with pytest.raises(classkit.StoreError, match="exercise 1 asserts nothing"):
        classkit.exercises(book)


@pytest.mark.slow
def test_a_kit_hides_solutions_and_grades_them(notebooks, tmp_path, capsys):
    kit = tmp_path / "kit"
    assert main(["classkit", str(kit)]) == 0
    assert "1 notebook" in capsys.readouterr().out
    student, instructor = (
        nbformat.read(kit / each / "01_small.ipynb", 4)
        for each in (classkit.STUDENT, classkit.INSTRUCTOR)
    )
    words = json.dumps(student)
    assert "Twice two" not in words
    assert "2 * x" not in words
    assert "isinstance" not in words, "hidden from students"
    assert "doubled == 4" in words
    assert "doubled is not set" in words
    sources = [cell.source for cell in instructor.cells]
    assert "doubled = 2 * x\nprint(doubled)" in sources
    assert "isinstance" in json.dumps(instructor)
    assert "## The plan" in (kit / classkit.GUIDE).read_text()
    handout = (kit / classkit.HANDOUT).read_text()
    assert "Double <code>x</code>" in handout
    assert "<b>" not in handout
    assert "Twice two" not in handout
    assert "reveal" in (kit / "slides" / "01_small.html").read_text()

    # what CI asserts for each notebook, and otter's own verdict
    copy = graded(student, instructor)
    checks = [c.source for c in copy.cells if c.source.startswith("assert grader")]
    assert checks[0] == 'assert grader.check("exercise1").score == 0'
    assert checks[1].startswith('assert grader.check("exercise1").passed_all')
    for version, score in ((classkit.STUDENT, 0.0), (classkit.INSTRUCTOR, 2.0)):
        command = [sys.executable, "-m", "otter", "run", "--no-logo", "-o", str(tmp_path)]
        command += ["-a", str(kit / "autograder" / "01_small.zip")]
        command += [str(kit / version / "01_small.ipynb")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
        assert f"Total Score: {score:.3f} / 2.000" in done.stdout

    assert main(["classkit", str(kit)]) == 2
    assert "name a new one" in capsys.readouterr().err


def test_unknown_notebooks_and_missing_ones_are_named(notebooks, tmp_path, capsys):
    assert main(["classkit", str(tmp_path / "kit"), "02_large"]) == 2
    assert "'02_large' is not there: allowed are 01_small" in capsys.readouterr().err
    (notebooks / "01_small.ipynb").unlink()
    assert main(["classkit", str(tmp_path / "kit")]) == 2
    assert "has no notebooks" in capsys.readouterr().err
    assert not (tmp_path / "kit").exists()
