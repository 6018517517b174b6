"""The app and notebook 06 open each other's run folders."""

import re

import nbformat
import pytest

from app.server.run_manager import runs
from engine import config
from tests.app.conftest import ANYONE, app, wait_until
from tests.conftest import DIGITS, quick_digits
from tests.execute_notebooks import FOLDER


@pytest.fixture
def quick(monkeypatch):
    """The notebook's runs end in seconds."""
    original = config.configure
    monkeypatch.setattr(config, "configure", lambda **settings: original(**settings | DIGITS))


def test_06_and_the_app_open_each_others_runs(root, quick, capsys):
    name = runs().submit(quick_digits(seed=4), visitor=ANYONE)
    wait_until(lambda: runs().info(name).state == "done")
    book, names = nbformat.read(FOLDER / "06_full_mixnn.ipynb", 4), {}
    for cell in book.cells:
        if cell.cell_type == "code":  # its assertions are about longer runs
            exec(compile(cell.source, "a cell", "exec", optimize=1), names)
    assert names["of_app"].folder == root / name
    out = capsys.readouterr().out
    assert f"{name}: " in out
    links = re.findall(r"http://localhost:8501/(\w+)\?(\w+)=(\S+)", out)
    assert [place for place, *_ in links] == ["losses", "labels", "compare"]
    for place, parameter, value in links:
        page = app(place, **{parameter: value})
        assert not page.error
        assert page.query_params[parameter] == value, "the page knows this parameter"
        assert len(page.get("plotly_chart")) >= 2


def test_06_reports_that_the_app_has_no_run(root, quick, capsys):
    book, names = nbformat.read(FOLDER / "06_full_mixnn.ipynb", 4), {}
    cells = [cell.source for cell in book.cells if cell.cell_type == "code"]
    for source in cells[:3]:
        exec(source, names)
    assert "No finished run of the app here yet" in capsys.readouterr().out
