"""A class kit from the notebooks: student and instructor versions, autograder, slides, handout.

Each notebook is the one source of all of them. Its exercises become questions of otter-grader, the
assertions of their solutions its tests; otter writes the versions and the autograder. An assertion
that ends with "# hidden" is graded, but not shown to students.
"""

import ast
import builtins
import html
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from string import Template
from typing import Any

from engine.errors import ConfigError, StoreError

HERE = Path(__file__).resolve().parent
NOTEBOOKS = HERE.parents[1] / "notebooks"
PLAN = "CLASS.md"  # beside the notebooks: the time plan
GUIDE, HANDOUT = "README.md", "handout.html"
FOLDERS = ("student", "instructor", "autograder", "slides")
STUDENT, INSTRUCTOR, AUTOGRADER, SLIDES = FOLDERS
EXERCISE = re.compile(
    r"## Exercise (?P<number>\d+)\n(?P<task>.*?)"
    r"<details><summary>Solution</summary>\n(?P<solution>.*?)</details>\s*$",
    re.DOTALL,
)
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)
HIDDEN = "# hidden"
# an answer cell as otter reads it: the solution, and what takes its place for students
MARKED = (
    "# BEGIN SOLUTION NO PROMPT\n{code}\n# END SOLUTION\n"
    '""" # BEGIN PROMPT\n{prompt}\n""" # END PROMPT'
)
SOLVED = re.compile(r"# BEGIN SOLUTION NO PROMPT\n(.*?)\n# END SOLUTION\n.*", re.DOTALL)
LINES = 6  # to write an answer on, in the handout


@dataclass(frozen=True)
class Exercise:
    """An exercise of a notebook."""

    number: int
    task: str  # Markdown
    explanation: str  # Markdown, of the solution
    code: str  # of the solution, without its assertions
    assertions: tuple[str, ...]  # source lines, those that involve what the solution computes
    names: tuple[str, ...]  # variables that the assertions read and the solution computes

    @property
    def prompt(self) -> str:
        """The text of the empty answer cell."""
        return "\n".join(["# Your answer", *(f"{name} = ..." for name in self.names)])


def build(
    folder: Path,
    names: Sequence[str] = (),
    on_done: Callable[[str], None] = lambda name: None,
) -> int:
    """Write the kit to a new folder; returns of how many notebooks.

    names: of the notebooks, such as 01_noise; all by default. on_done: called with each. Raises
    StoreError, and ConfigError where otter-grader is not installed.
    """
    nbformat = _library("nbformat")
    _library("otter")
    sources = _sources(names)
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
    books = {}
    for path in sources:
        books[path.stem] = book = nbformat.read(path, 4)
        _versions(book, path.stem, folder)
        _slides(book, folder / SLIDES / f"{path.stem}.html")
        on_done(path.stem)
    guide = Template((HERE / "classkit.md").read_text())
    (folder / GUIDE).write_text(guide.substitute(plan=(NOTEBOOKS / PLAN).read_text()))
    (folder / HANDOUT).write_text(_handout(books))
    return len(sources)


def _sources(names: Sequence[str]) -> list[Path]:
    """The notebooks of these names, all of them by default. Raises StoreError."""
    found = {path.stem: path for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))}
    if not found:
        raise StoreError(f"{NOTEBOOKS} has no notebooks: make a class kit in a copy of the project")
    for name in names:
        if name not in found:
            raise StoreError(f"notebook {name!r} is not there: allowed are {', '.join(found)}")
    return [found[name] for name in names or found]


def exercises(book: Any) -> list[Exercise]:
    """The exercises of a notebook, in order. Raises StoreError where one cannot be graded."""
    return [found for cell in book.cells if (found := _exercise(cell)) is not None]


def assignment(book: Any, name: str) -> Any:
    """The notebook in otter's format, from which it makes the versions."""
    new = _library("nbformat").v4
    cells = [new.new_raw_cell(_assignment_config(name))]
    for cell in book.cells:
        exercise = _exercise(cell)
        cells += [cell] if exercise is None else _question(exercise)
    return new.new_notebook(cells=cells, metadata=book.metadata)


def _library(name: str) -> Any:
    """A module of the extra. Raises ConfigError."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        raise ConfigError(
            f"a class kit needs the library {name}: pip install 'mixnn-lab[classkit]'"
        ) from None


def _exercise(cell: Any) -> Exercise | None:
    """The exercise of a cell, if it is one. Raises StoreError where it cannot be graded."""
    match = EXERCISE.match(cell.source) if cell.cell_type == "markdown" else None
    if match is None:
        return None
    number, solution = int(match["number"]), match["solution"]
    code = "\n".join(CODE.findall(solution))
    tree, lines = ast.parse(code), code.splitlines()
    asserts = [node for node in tree.body if isinstance(node, ast.Assert)]
    computed = {
        node.id
        for statement in tree.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    tests: list[str] = []
    names: dict[str, None] = {}
    for node in asserts:
        own = [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and n.id in computed]
        if own:
            tests.append("\n".join(lines[node.lineno - 1 : node.end_lineno]))
            names |= dict.fromkeys(own)
    if not tests:
        raise StoreError(f"exercise {number} asserts nothing about what its solution computes")
    asserted = {n for node in asserts for n in range(node.lineno, (node.end_lineno or 0) + 1)}
    body = "\n".join(line for n, line in enumerate(lines, 1) if n not in asserted).strip()
    return Exercise(
        number=number,
        task=match["task"].strip(),
        explanation=CODE.sub("", solution).strip(),
        code=body,
        assertions=tuple(tests),
        names=tuple(names),
    )


def _assignment_config(name: str) -> str:
    """For otter: no PDFs, tests as functions that assert, and a zip file to grade with."""
    return (
        f"# ASSIGNMENT CONFIG\nname: {name}\nexport_cell: false\nrun_tests: false\n"
        "generate:\n  pdf: false\n  show_hidden: true\n  show_stdout: true\n"
        "tests:\n  ok_format: false\n"
    )


def _question(exercise: Exercise) -> list[Any]:
    """The cells of a question in otter's format."""
    new = _library("nbformat").v4
    name = f"exercise{exercise.number}"
    wanted = ", ".join(f"`{each}`" for each in exercise.names)
    task = (
        f"## Exercise {exercise.number}\n\n{exercise.task}\n\nStore your result as {wanted}; the "
        "cell below the answer checks it."
    )
    answer = MARKED.format(code=exercise.code, prompt=exercise.prompt)
    return [
        new.new_raw_cell(f"# BEGIN QUESTION\nname: {name}\npoints: {len(exercise.assertions)}"),
        new.new_markdown_cell(task),
        new.new_raw_cell("# BEGIN SOLUTION"),
        new.new_code_cell(answer),
        new.new_markdown_cell(f"**Solution.** {exercise.explanation}"),
        new.new_raw_cell("# END SOLUTION"),
        new.new_raw_cell("# BEGIN TESTS"),
        *(
            new.new_code_cell(_test(number, source, exercise.names))
            for number, source in enumerate(exercise.assertions, 1)
        ),
        new.new_raw_cell("# END TESTS"),
        new.new_raw_cell("# END QUESTION"),
    ]


def _test(number: int, assertion: str, computed: Sequence[str]) -> str:
    """A test function in which an assertion sees the notebook's variables.

    computed: the variables that the answer has to set; an array indexed by `...` is the whole one.
    """
    hidden = assertion.rstrip().endswith(HIDDEN)
    names = {n.id for n in ast.walk(ast.parse(assertion)) if isinstance(n, ast.Name)}
    arguments = ", ".join(sorted(names - set(dir(builtins))))
    answered = [
        f'assert {name} is not ..., "{name} is not set"' for name in computed if name in names
    ]
    body = "\n".join(f"    {line}" for line in [*answered, *assertion.splitlines()])
    mark = f"{HIDDEN.upper()}\n" if hidden else ""
    return f"{mark}def check_{number}({arguments}):\n{body}"


def _versions(book: Any, name: str, dest: Path) -> None:
    """Write the student's and the instructor's version, and what grades them."""
    from otter.assign import main as assign

    nbformat = _library("nbformat")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / f"{name}.ipynb"
        nbformat.write(assignment(book, name), source)
        with redirect_stdout(StringIO()):
            assign(str(source), str(Path(folder) / "out"), no_pdfs=True, no_run_tests=True)
        made = Path(folder) / "out"
        shutil.copy(made / "student" / source.name, dest / STUDENT)
        solved = nbformat.read(made / "autograder" / source.name, 4)
        for cell in solved.cells:
            if cell.cell_type == "code":
                cell.source = SOLVED.sub(r"\1", cell.source)
        nbformat.write(solved, dest / INSTRUCTOR / source.name)
        (zipped,) = (made / "autograder").glob("*.zip")
        shutil.copy(zipped, dest / AUTOGRADER / f"{name}.zip")


def _slides(book: Any, path: Path) -> None:
    """Write slides by the cells' slide types."""
    from nbconvert import SlidesExporter

    page, _ = SlidesExporter(exclude_input_prompt=True).from_notebook_node(book)
    path.write_text(page)


def _handout(books: dict[str, Any]) -> str:
    """A page to print: goals and exercises of each notebook, with room for answers."""
    from nbconvert.filters.markdown_mistune import markdown2html_mistune as render

    parts = []
    for book in books.values():
        title, _, rest = book.cells[0].source.partition("\n")
        goals = re.findall(r"^- .*(?:\n  .*)*", rest, re.MULTILINE)
        parts.append(f"<section><h2>{html.escape(title.lstrip('# '))}</h2>")
        parts.append(f"<p>You can explain:</p>{render(chr(10).join(goals))}")
        for exercise in exercises(book):
            lines = "<div></div>" * LINES
            parts.append(f"<h3>Exercise {exercise.number}</h3>{render(exercise.task)}")
            parts.append(f'<div class="lines">{lines}</div>')
        parts.append("</section>")
    return Template((HERE / "classkit.html").read_text()).substitute(content="\n".join(parts))
