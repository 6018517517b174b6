"""What each notebook must hold, read from its file; executing them is a step of its own."""

import ast
import builtins
import re
from pathlib import Path

import nbformat
import numpy as np
import plotly.io as pio
import pytest

from engine.charts import image_grid, lesson, notebook
from engine.reports import classkit
from tests.execute_notebooks import FOLDER, HIDDEN, PNG, WIDGET, cleaned, solutions

NAMES = (
    "01_noise", "02_early_learning", "03_loss_mixture", "04_neighbors_and_mixing",
    "05_label_correction", "06_full_mixnn", "07_sensitivity", "08_your_data",
)  # fmt: skip
MOST_BYTES = 1_500_000
MOST_STATEMENTS = 5  # of a function in a notebook: glue for a slider, no library code
PLACE = re.compile(r"/(?:home|root|work|tmp|opt|Users|var)/")
PICTURE = re.compile(r"[A-Za-z0-9+/=]{200,}")  # base64 may spell anything
GOALS = "**After this notebook you can explain**"


@pytest.fixture(params=NAMES)
def path(request) -> Path:
    return FOLDER / f"{request.param}.ipynb"


@pytest.fixture
def book(path):
    return nbformat.read(path, 4)


def code_of(book) -> list[str]:
    return [cell.source for cell in book.cells if cell.cell_type == "code"]


def texts_of(book) -> list[str]:
    return [cell.source for cell in book.cells if cell.cell_type == "markdown"]


def outputs_of(book):
    return [out for cell in book.cells if cell.cell_type == "code" for out in cell.outputs]


def test_these_are_all():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(NAMES)


def test_it_starts_with_what_the_reader_will_be_able_to_explain(book, path):
    first = book.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith(f"# {int(path.stem[:2])}. ")
    goals = first.source.partition(GOALS)[2].strip().splitlines()
    assert len([line for line in goals if line.startswith("- ")]) == 3


def test_formula_code_and_picture_are_there(book):
    assert sum("$$" in text for text in texts_of(book)) >= 1 or "$N_K(i)$" in str(texts_of(book))
    assert sum(PNG in out.get("data", {}) for out in outputs_of(book)) >= 3
    assert sum("**What to see.**" in text for text in texts_of(book)) >= 3


def test_two_exercises_with_hidden_solutions_and_what_comes_next(book):
    texts = texts_of(book)
    exercises = [text for text in texts if text.startswith("## Exercise ")]
    assert [text.splitlines()[0] for text in exercises] == ["## Exercise 1", "## Exercise 2"]
    for text in exercises:
        assert text.count("<details><summary>Solution</summary>\n\n") == 1
        assert text.endswith("\n\n</details>"), "nothing after the solution"
        (hidden,) = HIDDEN.findall(text)
        assert hidden.count("```python") == 1
        assert "assert " in hidden, "a solution checks itself"
    assert texts[-1].startswith("## What comes next")


def test_links_between_notebooks_lead_somewhere(book):
    for text in texts_of(book):
        for target in re.findall(r"\]\(([^)#]+\.ipynb)\)", text):
            assert (FOLDER / target).exists(), target


def test_no_library_code(book):
    for source in code_of(book):
        for node in ast.walk(ast.parse(source)):
            assert not isinstance(node, ast.ClassDef)
            if isinstance(node, ast.FunctionDef):
                assert len(node.body) <= MOST_STATEMENTS, node.name


def test_solutions_use_what_the_notebook_defines(book):
    known = set(dir(builtins))
    for source in [*code_of(book), *solutions(book)]:
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                known.add(node.id)
            elif isinstance(node, ast.alias):
                known.add((node.asname or node.name).partition(".")[0])
            elif isinstance(node, ast.FunctionDef | ast.arg):
                known.add(getattr(node, "name", None) or node.arg)
        used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        assert used <= known, used - known


def test_exercises_can_be_graded(book):
    for number, exercise in enumerate(classkit.exercises(book), 1):
        assert exercise.number == number
        assert exercise.names, "an empty answer fails"
        assert exercise.code


def test_it_was_executed_whole_and_in_order(book):
    counts = [cell.execution_count for cell in book.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert not [out for out in outputs_of(book) if out.output_type == "error"]
    assert not [out for out in outputs_of(book) if out.get("name") == "stderr"]


def test_every_figure_shows_without_scripts(book):
    for out in outputs_of(book):
        kinds = out.get("data", {})
        assert WIDGET not in kinds, "sliders that no kernel moves"
        if notebook.PLOTLY in kinds:
            assert PNG in kinds


def test_it_says_nothing_of_the_machine_and_stays_small(book, path):
    assert path.stat().st_size < MOST_BYTES
    text = PICTURE.sub("", path.read_text())
    assert not PLACE.findall(text)
    assert book.metadata == cleaned(nbformat.from_dict(book)).metadata
    assert all("execution" not in cell.metadata for cell in book.cells)


# --- the charts that notebooks draw with


class PaintsNothing:
    def png(self, fig_dict):
        return b"a picture"


@pytest.fixture
def renderers():
    """The default renderer is as before when the test ends."""
    before = pio.renderers.default
    notebook._painter.cache_clear()
    yield
    pio.renderers.default = before
    notebook._painter.cache_clear()


def test_figures_bring_a_picture_along_on_white(monkeypatch, renderers):
    monkeypatch.setattr(notebook, "Painter", PaintsNothing)
    notebook.setup()
    bundle = lesson.same_class_bars(np.arange(6))._repr_mimebundle_()
    assert set(bundle) == {notebook.PLOTLY, PNG}
    assert bundle[notebook.PLOTLY]["layout"]["paper_bgcolor"] == "white"


def test_without_a_browser_figures_do_without_pictures(monkeypatch, renderers):
    def no_browser():
        raise RuntimeError("no Chrome")

    monkeypatch.setattr(notebook, "Painter", no_browser)
    notebook.setup()
    assert set(lesson.same_class_bars(np.arange(6))._repr_mimebundle_()) == {notebook.PLOTLY}


def test_a_huge_figure_is_its_picture_alone(monkeypatch, renderers):
    monkeypatch.setattr(notebook, "Painter", PaintsNothing)
    monkeypatch.setattr(notebook, "MOST_JSON", 100)
    notebook.setup()
    assert set(lesson.same_class_bars(np.arange(6))._repr_mimebundle_()) == {PNG}


def test_sliders_redraw_and_leave_the_first_picture_to_pages(monkeypatch, renderers):
    import IPython.display
    from ipywidgets import IntSlider

    shown = []
    monkeypatch.setattr(notebook, "Painter", PaintsNothing)
    monkeypatch.setattr(IPython.display, "display", lambda data, raw: shown.append(data))
    notebook.setup()
    drawn, slider = [], IntSlider(3, min=1, max=6)
    notebook.explore(
        lambda k: drawn.append(k) or lesson.same_class_bars(np.arange(k + 1)), k=slider
    )
    assert {WIDGET, PNG} <= set(shown[-1])
    slider.value = 5
    assert drawn[-1] == 5
    assert set(shown[-1]) == {notebook.PLOTLY}, "pictures would make a slider slow"


@pytest.mark.slow
def test_a_painted_picture_is_a_png(renderers):
    pytest.importorskip("kaleido")
    painter = notebook._painter()
    if painter is None:
        pytest.skip("no browser")
    fig = lesson.same_class_bars(np.arange(6)).to_dict()
    assert painter.png(fig).startswith(b"\x89PNG")
    painter.close()


def test_runs_of_notebooks_lie_where_the_app_keeps_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("MIXNN_RUNS", str(tmp_path))
    assert notebook.runs_folder() == tmp_path
    monkeypatch.delenv("MIXNN_RUNS")
    assert notebook.runs_folder() == FOLDER.parent / "runs"


def test_a_wall_holds_each_image_and_its_words():
    pictures = np.zeros((13, 8, 8, 1), np.uint8)
    fig = image_grid.image_grid(
        pictures, [f"label {i}\n<b>" for i in range(13)], marks=["#D55E00"] * 13
    )
    assert len(fig.layout.images) == 13
    assert len({(i.x, i.y) for i in fig.layout.images}) == 13
    assert fig.layout.annotations[12].text == "label 12<br>&lt;b&gt;"
    colored = image_grid.image_grid(np.zeros((2, 4, 6, 3)), ["a", "b"])
    assert all(i.source.startswith("data:image/png;base64,") for i in colored.layout.images)
