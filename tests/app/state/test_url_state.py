"""The URL: every value survives it, no text breaks a page, Back differs from a late event."""

import contextlib

import pytest
import streamlit as st
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from streamlit.testing.v1 import AppTest

from app.server import streamlit_internals
from app.state import parameters, sample_sets, url_state
from app.views.lesson import steps
from tests.hostile import PARAMS

NUMBERS = some.integers(0, parameters.MAX_NUMBER)
FLOATS = some.floats(-float(parameters.MAX_NUMBER), float(parameters.MAX_NUMBER), allow_nan=False)
NAMES = some.text(some.characters(exclude_characters=","), min_size=1, max_size=20)
VALUES = {  # parser -> values that it knows
    str: some.text(max_size=60),
    parameters.whole: NUMBERS,
    parameters.finite: FLOATS,
    parameters.table: some.lists(some.lists(NUMBERS | FLOATS, max_size=5), max_size=5),
    parameters.share_key: some.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    parameters.weights: some.lists(some.integers(0, 100), min_size=1, max_size=101).map(tuple),
    parameters.names_from: some.lists(NAMES, max_size=5).map(tuple),
    sample_sets.unpack: some.sets(some.integers(0, 3000), max_size=50).map(
        lambda s: tuple(sorted(s))
    ),
    steps.PARAMS["class_code"].parse: some.from_regex(r"[a-z0-9][a-z0-9-]{0,23}", fullmatch=True),
}
FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def values_of(param: parameters.Param) -> some.SearchStrategy:
    """Values that a parameter may have."""
    if param.parse in VALUES:
        return VALUES[param.parse]
    options = []
    for text in [*param.words.split(" | "), *map(str, range(10)), "bring", "check", "review"]:
        with contextlib.suppress(ValueError):
            options.append(param.read(text))
    assert options, param
    return some.sampled_from(options)


@given(some.data())
@FEW
def test_every_value_survives_the_url(root, data):
    for name, param in PARAMS.items():
        value = data.draw(values_of(param), label=name)
        text = param.format(value)
        assert isinstance(text, str)
        assert param.read(text) == value, name


WORDS = [
    "", "-1", "1e999", "nan", "@", "@" + "0" * 20, "../..", "\x00", "٣", "1_0", "0x1", "%%%", "eJw",
    parameters.pack([[1]]), parameters.pack({"a": None}), parameters.pack([[True]]),
]  # fmt: skip


@given(
    some.dictionaries(some.sampled_from(sorted(PARAMS)), some.sampled_from(WORDS) | some.text()),
)
@FEW
def test_any_url_gives_values_or_messages(root, url):
    url_state.declare(PARAMS)
    values, problems = url_state.read(url)
    assert len(values) + len(problems) == len(url)
    for problem in problems:
        name, _, allowed = problem.partition(" = ")
        assert name in url
        assert name not in values
        assert " in the link: allowed is " in allowed
    for name, value in values.items():  # what was read is as good as what a page selects
        assert PARAMS[name].read(PARAMS[name].format(value)) == value


# --- widgets


def page() -> None:
    import streamlit as st

    from app.state import url_state

    url_state.sync()
    st.slider("Epoch", 0, 9, **url_state.bound("epoch", 0))
    st.button("Next", on_click=lambda: url_state.put(epoch=url_state.get("epoch") + 1))


def test_a_slider_moved_back_after_a_button_takes_effect():
    at = AppTest.from_function(page, default_timeout=60).run()
    at.slider[0].set_value(4).run()
    at.button[0].click().run()
    assert at.slider[0].value == 5
    at.slider[0].set_value(4).run()
    assert at.slider[0].value == 4
    assert at.query_params["epoch"] == "4"


class Url:
    """Stands in for st.query_params."""

    def __init__(self):
        self.now: dict[str, str] = {}

    def to_dict(self) -> dict[str, str]:
        return dict(self.now)

    def from_dict(self, values: dict[str, str]) -> None:
        self.now = dict(values)


@pytest.fixture
def url(monkeypatch) -> Url:
    """The URL of a session that has just begun."""
    monkeypatch.setattr(st, "session_state", {})
    monkeypatch.setattr(st, "query_params", Url())
    return st.query_params


def test_what_a_replaced_widget_showed_is_no_event(url):
    """A browser that has not received the new slider reports the old one with a second click."""
    url_state.put(epoch=3)
    old = url_state.bound("epoch")
    url_state.put(epoch=4)
    new = url_state.bound("epoch")
    assert old["key"] != new["key"]
    st.session_state[old["key"]] = 3
    old["on_change"]()
    assert url_state.get("epoch") == 4
    st.session_state[old["key"]] = 7  # the visitor did move it
    old["on_change"]()
    assert url_state.get("epoch") == 7


def test_the_versions_of_a_widget_are_few(url):
    for epoch in range(100):
        url_state.put(epoch=epoch)
        bound = url_state.bound("epoch")
    assert len(st.session_state[url_state.SHOWN]["epoch"]) <= url_state.MAX_SHOWN
    st.session_state[bound["key"]] = 5
    bound["on_change"]()
    assert url_state.get("epoch") == 5


# --- which URL is meant


@pytest.fixture
def went_back(monkeypatch):
    """went_back(True): what Streamlit says of this visit."""

    def say(answer: bool | None) -> None:
        monkeypatch.setattr(streamlit_internals, "history_navigation", lambda: answer)

    return say


def test_a_url_that_was_not_replaced_yet_changes_nothing(url, went_back):
    went_back(False)
    url.now = {"epoch": "3"}
    url_state.sync()
    url_state.put(epoch=4)
    url_state.put(epoch=5)
    url.now = {"epoch": "3"}  # sent before the browser received 4 and 5
    url_state.sync()
    assert url_state.get("epoch") == 5
    assert url.now == {"epoch": "5"}
    url.now = {"epoch": "4"}
    url_state.sync()
    assert url_state.get("epoch") == 5


@pytest.mark.parametrize("says", [True, None])
def test_back_takes_effect_at_once(url, went_back, says):
    went_back(says)
    url.now = {"run": "a", "sample": "3"}
    url_state.sync()
    url_state.put(sample=4)
    url_state.sync()
    url.now = {"run": "a", "sample": "3"}
    url_state.sync()
    assert url_state.get("sample") == 3
    assert url.now == {"run": "a", "sample": "3"}


def test_if_streamlit_does_not_know_a_click_decides(url, went_back):
    went_back(None)
    url.now = {"epoch": "3"}
    url_state.sync()
    url_state.put(epoch=4)
    url.now = {"epoch": "3"}
    url_state.sync()
    assert url_state.get("epoch") == 4


def test_an_earlier_link_counts_again(url, went_back):
    went_back(False)
    for sample in ("3", "4", "3", "4"):
        url.now = {"sample": sample}
        url_state.sync()
        assert url_state.get("sample") == int(sample)


def test_a_page_writes_the_url_once(url, monkeypatch):
    written = []
    monkeypatch.setattr(url, "from_dict", lambda values: written.append(dict(values)))
    url_state.sync()
    with url_state.one_entry():
        url_state.put(run="a")
        url_state.put(sample=3)
    assert written == [{"run": "a", "sample": "3"}]


def test_a_page_that_stops_writes_the_url(url):
    with contextlib.suppress(KeyError), url_state.one_entry():
        url_state.put(run="a")
        raise KeyError
    assert url.now == {"run": "a"}
    url_state.put(run="b")
    assert url.now == {"run": "b"}
