"""What each notebook must hold, read from its file; executing them is a step of its own."""

import ast
import builtins
import re
from pathlib import Path

import nbformat
import numpy as np
import plotly.io as pio
import pytest
import torch

from engine.charts import image_grid, lesson, notebook
from engine.reports import classkit
from tests import execute_notebooks
from tests.execute_notebooks import FOLDER, HIDDEN, PLOTLY, PNG, cleaned, solutions

NAMES = (
    "01_noise", "02_early_learning", "03_loss_mixture", "04_neighbors_and_mixing",
    "05_label_correction", "06_full_mixnn", "07_sensitivity", "08_your_data",
    "09_your_own_method", "10_your_photographs",
)  # fmt: skip
MOST_BYTES = 1_500_000
MOST_STATEMENTS = 5  # of a function in a notebook: glue for a slider, no library code
LOOP = "own_method"  # the training loop of 09, the one exception
MOST_IMPORTS = 5  # lines that import from this project
SLIDES = {"slide", "fragment", "skip", "notes"}
WIDGET = "application/vnd.jupyter.widget-view+json"
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
    assert "**You need**" in first.source
    minutes = [int(n) for n in re.findall(r"^\|.*\| (\d+) \|$", first.source, re.MULTILINE)]
    assert len(minutes) >= 4
    assert sum(minutes) <= 60


def test_one_image_a_prediction_and_a_misconception_in_each(book):
    code, text = "\n".join(code_of(book)), "\n".join(texts_of(book))
    assert re.search(r"^my_guess\w* = None", code, re.MULTILINE), "a student may skip it"
    assert code.count("my_guess") >= 2, "the guess is shown beside the result"
    assert "**A common misconception:**" in text
    assert re.search(r"\b[Ii]mage 4\b", text), "the digit that all lessons follow"


def test_texts_that_cite_numbers_are_checked(book):
    """Between a text and the one before it, code asserts what the text says."""
    code = ""
    for cell in book.cells:
        if cell.cell_type == "code":
            code += cell.source
        elif cell.source.startswith("**What to see.**"):
            cited = re.sub(r"[Ii]mage 4|\[[^]]*\]\([^)]*\)|\$[^$]*\$", "", cell.source)
            assert "assert " in code or not re.search(r"\d", cited), cell.source
            code = ""


def test_every_cell_has_a_slide_type(book):
    kinds = [cell.metadata["slideshow"]["slide_type"] for cell in book.cells]
    assert set(kinds) <= SLIDES
    assert kinds[0] == "slide"
    assert kinds.count("slide") >= 5


def test_few_imports(book):
    lines = code_of(book)[0].splitlines()
    assert len([line for line in lines if line.startswith("from engine")]) <= MOST_IMPORTS
    assert "notebook.setup()" in lines


def test_sources_have_addresses(book):
    (sources,) = (text for text in texts_of(book) if text.startswith("## Sources"))
    assert sources.count("https://arxiv.org/abs/") >= 2


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
            if isinstance(node, ast.FunctionDef) and node.name != LOOP:
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


def test_every_figure_shows_without_scripts_in_one_width(book):
    for out in outputs_of(book):
        kinds = out.get("data", {})
        assert WIDGET not in kinds, "sliders that no kernel moves"
        if PLOTLY in kinds:
            assert PNG in kinds
            assert kinds[PLOTLY]["layout"]["width"] == notebook.WIDTH


def test_it_says_nothing_of_the_machine_and_stays_small(book, path):
    assert path.stat().st_size < MOST_BYTES
    text = PICTURE.sub("", path.read_text())
    assert not PLACE.findall(text)
    assert book.metadata == cleaned(nbformat.from_dict(book)).metadata
    assert all("execution" not in cell.metadata for cell in book.cells)


# --- the charts that notebooks draw with


@pytest.fixture
def renderer():
    """Figures are drawn as in a notebook; the default renderer is as before when the test ends."""
    before = pio.renderers.default
    notebook.setup()
    yield
    pio.renderers.default = before


def test_figures_suit_both_themes_and_need_no_browser(renderer):
    bundle = lesson.same_class_bars(np.arange(6))._repr_mimebundle_()
    assert set(bundle) == {PLOTLY}
    layout = bundle[PLOTLY]["layout"]
    assert layout["width"] == notebook.WIDTH
    assert layout["template"]["layout"]["font"]["color"] == notebook.INK
    assert layout["paper_bgcolor"] == "rgba(0,0,0,0)"


def test_a_picture_is_added_when_notebooks_are_executed(renderer, monkeypatch):
    class Paints:
        def png(self, figure):
            assert figure["layout"]["width"] == notebook.WIDTH
            return b"a picture"

    bundle = lesson.same_class_bars(np.arange(6))._repr_mimebundle_()
    output = nbformat.v4.new_output("display_data", bundle)
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    execute_notebooks.bake(book, Paints())
    assert set(output.data) == {PLOTLY, PNG}
    monkeypatch.setattr(execute_notebooks, "MOST_JSON", 100)
    execute_notebooks.bake(book, Paints())
    assert set(output.data) == {PNG}, "a huge figure is its picture alone"


def test_a_slider_needs_no_kernel():
    def draw(k):
        mark = (k / 10, "here") if k > 1 else ()
        return lesson.share_curves([0, 1], {"share": [0, k / 10]}, mark=mark)

    fig = notebook.explore(draw, [1, 3, 5], start=3).to_plotly_json()
    (slider,) = fig["layout"]["sliders"]
    assert [step["label"] for step in slider["steps"]] == ["1", "3", "5"]
    assert (slider["active"], slider["currentvalue"]["prefix"]) == (1, "k: ")
    assert list(fig["data"][0]["y"]) == [0, 0.3]
    frames = fig["frames"]
    assert [list(frame["data"][0]["y"]) for frame in frames] == [[0, 0.1], [0, 0.3], [0, 0.5]]
    assert "x" not in frames[0]["data"][0], "only what moves"
    shapes = [frame["layout"]["shapes"] for frame in frames]
    assert [[shape["visible"] for shape in each] for each in shapes] == [[False], [True], [True]]


def test_curves_show_what_was_guessed_and_name_their_axis():
    series = {"wrong": [0.1, 0.2]}
    for guess, drawn in ((0.3, [0.3, 0.3]), ({5: 0.4}, [0.4])):
        fig = lesson.share_curves([0, 5], series, over="K", guess=guess)
        assert list(fig.data[0].y) == drawn
        assert all(trace.hovertemplate.startswith("K %{x}") for trace in fig.data)
    assert len(lesson.share_curves([0, 5], series).data) == 1


def test_a_cell_out_of_order_gets_a_sentence(renderer, capsys):
    from IPython.core.interactiveshell import InteractiveShell

    try:
        shell = InteractiveShell.instance()
        notebook.setup()
        result = shell.run_cell("print(snapshots)")
        assert isinstance(result.error_in_exec, NameError)
        assert notebook.EARLIER.format(name="'snapshots'") in capsys.readouterr().out
    finally:
        InteractiveShell.clear_instance()


@pytest.mark.slow
def test_a_painted_picture_is_a_png():
    pytest.importorskip("kaleido")
    painter = execute_notebooks.Painter()
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


def test_labels_of_images_say_whether_they_are_right():
    images = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    fig = image_grid.labeled_images(images, np.array([1, 2, 2]), np.array([1, 1, 2]), [1, 2])
    assert [note.text for note in fig.layout.annotations] == ["label 2 ✗", "label 2 ✓"]
    assert {trace.name for trace in fig.data if trace.name} == {"label right ✓", "label wrong ✗"}
