"""The frame: the selection is in the URL and survives a page switch; terms; no traceback."""

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.components import figures, images, run_picker
from app.components.glossary import GLOSSARY
from app.components.text import minutes
from app.state import parameters, url_state
from engine.charts import theme
from tests.app.conftest import MAIN, app, texts
from tests.test_contributing import PAGE

PAGES = [path.parent.name for path in sorted((MAIN.parent / "views").glob("*/page.py"))]


@pytest.mark.parametrize("state", ["nothing", "running", "failed", "broken"])
def test_every_page_in_every_state(state, request, root):
    """No page ever shows a traceback, and each says something."""
    run = {} if state == "nothing" else {"run": request.getfixturevalue(state)}
    for page in PAGES:
        at = app(page, **run)
        assert at.header, page
        assert "Unexpected error" not in texts(at), page


def test_the_selection_survives_a_page_switch(finished):
    at = app("losses", run=finished, epoch="3", sample="17")
    at.query_params.clear()  # as a click in the navigation does
    at.switch_page("views/labels/page.py").run()
    assert at.query_params["epoch"] == "3"
    assert at.query_params["sample"] == "17"
    assert at.query_params["run"] == finished


def test_every_page_is_reached_from_train_and_left_for_it(finished):
    at = app("train", run=finished, epoch="3")
    start = at.header[0].value
    for page in PAGES:
        for way in (page, "train"):
            at.query_params.clear()
            at.switch_page(f"views/{way}/page.py").run()
            assert not at.exception
            assert (at.header[0].value == start) == (way == "train"), page
            assert "Unexpected error" not in texts(at), page
            # Home's address has only what Home shows; the selection remains
            assert ("run" in at.query_params) == (way != "home"), page
            assert choices_of(at)["run"] == finished, page


def test_a_new_link_in_the_same_tab_counts(finished):
    at = app("losses", run=finished, epoch="3")
    at.query_params["epoch"] = "1"
    at.run()
    assert choices_of(at)["epoch"] == 1


def choices_of(at) -> dict:
    return at.session_state[url_state.CHOICES]


def test_stepping_through_the_epochs(finished):
    at = app("losses", run=finished, epoch=5)
    assert "Epoch **5**" in texts(at)
    at.button(key="epoch-back").click().run()
    at.button(key="epoch-back").click().run()
    assert at.query_params["epoch"] == "3"
    at.button(key="epoch-on").click().run()
    assert at.query_params["epoch"] == "4"


def test_every_value_goes_through_the_url_and_back():
    values = {
        "rate": 0.35, "k": 7, "seed": 3, "lasso": (1, 2, 40_000), "compare": ("a", "b"),
        "noise_matrix": [[0.9, 0.1], [0.2, 0.8]], "guide": True, "sample": 0, "epoch": 0,
    }  # fmt: skip
    for name, value in values.items():
        param = url_state.PARAMS[name]
        assert param.parse(param.format(value)) == value, name


@pytest.mark.parametrize("text", ["%%%", "AAAA", "", "eJw"])
def test_a_damaged_packed_text_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 - any of its kinds
        parameters.unpack(text)


def test_an_unexpected_failure_becomes_a_message(root, monkeypatch):
    monkeypatch.setattr(run_picker, "chosen_run", lambda: 1 / 0)
    at = app("train")
    assert "Unexpected error: ZeroDivisionError" in texts(at)


def test_the_app_runs_from_any_folder(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    at = AppTest.from_file(str(MAIN), default_timeout=60).run()
    assert not at.exception


def test_every_term_is_one_sentence():
    for term, words in GLOSSARY.items():
        assert words.endswith("."), term
        assert words.count(". ") == 0, term


def test_the_points_of_a_figure_are_its_csv():
    fig = theme.figure()
    fig.add_scatter(x=[1, 2], y=[3.0, 4.0], name="a")
    fig.add_bar(x=["u"], y=[5], name="b")
    table = figures.points(fig)
    assert table.trace.tolist() == ["a", "a", "b"]
    assert table.y.tolist() == [3.0, 4.0, 5.0]
    fig = theme.figure()
    fig.add_heatmap(z=[[1, 2], [3, 4]], x=["u", "v"], y=["p", "q"])
    table = figures.points(fig)
    assert table.values.tolist() == [["p", "u", 1], ["p", "v", 2], ["q", "u", 3], ["q", "v", 4]]


def test_a_wall_escapes_what_users_named(root, monkeypatch):
    shown = []
    monkeypatch.setattr(images.st, "html", shown.append)
    images.wall([np.zeros((8, 8, 1))], ['<script>alert("x")</script>'])
    assert "<script>" not in shown[0]
    assert "&lt;script&gt;" in shown[0]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "–"), (40, "40 s"), (180, "3 min"), (7500, "2 h 5 min")],
)
def test_durations_in_words(seconds, words):
    assert minutes(seconds) == words


def test_links_with_older_names_of_networks_and_presets_are_understood():
    assert url_state.PARAMS["preset"].read("fast") == "cifar10-fast"
    assert url_state.PARAMS["preset"].read("best") == "cifar10-best"
    assert url_state.PARAMS["network"].read("fast") == "resnet9-w16"
    with pytest.raises(ValueError, match="cifar10-fast"):
        url_state.PARAMS["preset"].read("faster")


def test_the_page_of_contributing_opens(finished):
    source = f"from app.state import url_state\nurl_state.sync()\n{PAGE}"
    at = AppTest.from_string(source, default_timeout=60)
    at.query_params["run"] = finished
    at.run()
    assert not at.exception
    assert at.header[0].value == "How sure is the network?"
    assert len(at.get("plotly_chart")) == 1
