"""The app and notebook 06 open each other's run folders."""

import nbformat
import pytest

from app.server.run_manager import runs
from engine import config
from engine.charts import notebook
from tests.app.conftest import ANYONE, app, wait_until
from tests.conftest import DIGITS, quick_digits
from tests.execute_notebooks import FOLDER


@pytest.fixture
def quick(monkeypatch):
    """The notebook's runs end in seconds, and no browser renders its figures."""
    original = config.configure
    monkeypatch.setattr(config, "configure", lambda **settings: original(**settings | DIGITS))
    monkeypatch.setattr(notebook, "_painter", lambda: None)


def test_06_and_the_app_open_each_others_runs(root, quick, capsys):
    name = runs().submit(quick_digits(seed=4), visitor=ANYONE)
    wait_until(lambda: runs().info(name).state == "done")
    book, names = nbformat.read(FOLDER / "06_full_mixnn.ipynb", 4), {}
    for cell in book.cells:
        if cell.cell_type == "code":
            exec(cell.source, names)
    assert names["of_app"].folder == root / name
    assert f"{name}: " in capsys.readouterr().out
    for method in ("mixnn", "ce"):
        page = app("losses", run=f"notebook-06-{method}")
        assert not page.error
        assert page.query_params["run"] == f"notebook-06-{method}"
        assert len(page.get("plotly_chart")) >= 2
    page = app("compare", runs="notebook-06-mixnn,notebook-06-ce")
    assert not page.error


def test_06_reports_that_the_app_has_no_run(root, quick, capsys):
    book, names = nbformat.read(FOLDER / "06_full_mixnn.ipynb", 4), {}
    cells = [cell.source for cell in book.cells if cell.cell_type == "code"]
    for source in cells[:3]:
        exec(source, names)
    assert "No finished run of the app here yet" in capsys.readouterr().out
