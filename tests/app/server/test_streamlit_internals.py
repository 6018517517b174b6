"""Undocumented parts of Streamlit may be missing: the app works without them."""

import ast
import builtins
import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequests

from app.server import streamlit_internals
from app.views.map import thumbnails
from tests.app.conftest import app, texts

APP = Path(__file__).resolve().parents[3] / "app"
PRIVATE = ("streamlit.runtime", "streamlit.web", "streamlit.proto", "streamlit.elements")
NAMES = ("get_script_run_ctx", "decode_xsrf_token_string", "AppSession", "_runtime")


def test_one_module_alone_imports_them():
    importing = set()
    for path in APP.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            if any(name.startswith(PRIVATE) for name in names):
                importing.add(path.name)
    assert importing == {"streamlit_internals.py"}


def test_it_loads_where_all_are_missing(monkeypatch):
    load = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("streamlit"):
            raise ImportError(name)
        return load(name, *args, **kwargs)

    spec = importlib.util.spec_from_file_location("bare", streamlit_internals.__file__)
    bare = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(builtins, "__import__", without)
    spec.loader.exec_module(bare)
    monkeypatch.undo()
    assert [getattr(bare, name) for name in NAMES] == [None] * len(NAMES)
    assert not bare.on_page()
    assert bare.session_id() is bare.history_navigation() is bare.runtime() is None
    assert bare.browser_token("2|x") is bare.media_url(b"", "image/png", "a") is None


def test_a_fragment_waits_until_the_page_before_it_was_sent(monkeypatch):
    asked, later, ended = [], [], ScriptRequests()
    ended.request_stop()

    class Session:
        _event_loop = SimpleNamespace(call_later=lambda _, *call: later.append(call))
        _scriptrunner = SimpleNamespace(_requests=ended)

        def request_rerun(self, client_state):
            asked.append(client_state)

    monkeypatch.setattr(streamlit_internals, "AppSession", Session)
    streamlit_internals.send_pages_whole()
    session, page, fragment = Session(), *(SimpleNamespace(fragment_id=i) for i in ("", "x"))
    session.request_rerun(fragment)
    session.request_rerun(page)
    assert asked == [page]
    Session._scriptrunner = None  # its last message has been passed on
    again, *arguments = later.pop()
    again(*arguments)
    assert asked == [page, fragment]


@pytest.fixture
def missing(monkeypatch):
    """Streamlit without any of them."""
    for name in NAMES:
        monkeypatch.setattr(streamlit_internals, name, None)


@pytest.mark.parametrize("page", ["train", "losses", "map", "sample", "your_data", "runs"])
def test_pages_are_drawn_without_them(missing, finished, page):
    at = app(page, run=finished)
    assert at.header
    assert "Unexpected error" not in texts(at)


def test_a_visitor_is_the_same_through_a_session(missing, finished):
    at = app("train", run=finished)
    token = at.session_state["visitor"]
    at.run()
    assert at.session_state["visitor"] == token


def test_thumbnails_travel_in_the_page(missing, finished):
    described = thumbnails.described(finished, 200)
    assert described["urls"][0].startswith("data:image/png;base64,")
