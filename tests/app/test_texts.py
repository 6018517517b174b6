"""Untrusted texts are shown literally: names, messages and URLs, on every page."""

import contextlib
import html
import os
import shutil
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from app.components import run_picker
from app.server import escaping as plain
from app.server.run_manager import EVERYONE, runs
from app.state import sample_sets, url_state
from engine.analysis import run_table
from engine.charts import escaping
from engine.errors import StoreError
from tests.app.conftest import app, texts
from tests.hostile import (
    NAMES,
    PAGES,
    PARAMS,
    acting,
    addresses,
    named_by_strangers,
    packed,
    protos,
)
from tests.poison import IN_ARRAYS, IN_LABELS, IN_ROWS, IN_STATES, POISONS

WRONG = "Unexpected error"
IN_CI = 60  # URLs of the fixed subset


def acting_on(at) -> list[str]:
    return [text for proto in protos(at._tree) for text in acting(proto)]


@pytest.fixture
def hostile(root, template) -> str:
    return named_by_strangers(template, root)


# --- the functions


@pytest.mark.parametrize("name", NAMES)
def test_markdown_of_a_name_has_nothing_active(name):
    shown = plain.markdown(name)
    message = SimpleNamespace(
        ListFields=lambda: [(SimpleNamespace(name="body", is_repeated=False), shown)]
    )
    assert not list(acting(message))
    assert len(shown) < 2 * plain.MAX_CHARS + 20


def test_ordinary_names_stay_legible():
    for name in ("digits-mixnn-symmetric0.4-seed0", "7", "0.4", "cat (tabby)", "Käse 🙂"):
        assert plain.markdown(name) == escaping.plotly(name) == plain.html(name) == name
    assert plain.markdown("- item") == r"\- item"
    assert plain.markdown("1. item") == r"1\. item"
    assert plain.markdown("a_b*c _x_") == r"a_b\*c \_x\_"


def test_what_cannot_be_encoded_or_changes_direction_is_replaced():
    for function in (escaping.text, plain.markdown, plain.html, escaping.plotly):
        shown = function("a\ud800b\u202ec\x00d\ne")
        assert shown == "a�b�c�d e"
        assert len(function("x" * 10**6)) == plain.MAX_CHARS


def test_plotly_names_are_restored_in_the_table():
    for name in NAMES[:9]:
        assert html.unescape(escaping.plotly(name)) == name
        assert not {"<", ">", "$", "%"} & set(escaping.plotly(name))


# --- pages


@pytest.mark.parametrize(("page", "params"), PAGES)
def test_names_are_inert_on_every_page(page, params, hostile):
    at = app(page, run=hostile, **params)
    assert WRONG not in texts(at)
    assert acting_on(at) == []
    assert at.header


def test_the_check_detects_active_content(root):
    """The test above can fail."""

    def page(names):
        import plotly.graph_objects as go
        import streamlit as st

        for name in names:
            st.markdown(f"**{name}**")
        st.button("x", help=names[0])
        st.expander(names[1]).html(names[2])
        st.plotly_chart(go.Figure(go.Bar(x=[names[2]], y=[1])))

    at = AppTest.from_function(page, args=(NAMES,)).run()
    active = acting_on(at)
    assert len(active) >= 13
    assert {text.split(":")[0] for text in active} >= {"HTML", "figure", "Markdown.body"}


def test_errors_are_shown_as_text(root, monkeypatch):
    def fail():
        raise StoreError(" ".join(NAMES[:6]))

    monkeypatch.setattr(run_picker, "chosen_run", fail)
    assert acting_on(app("train")) == []
    monkeypatch.setattr(run_picker, "chosen_run", lambda: 1 / 0 if False else {}[NAMES[1]])
    at = app("train")
    assert WRONG in texts(at)
    assert acting_on(at) == []


# --- URLs


@pytest.mark.parametrize("part", range(4))
def test_no_url_breaks_a_page(part, finished):
    for page, params in addresses()[: 4 * IN_CI : 4][part::4]:
        params = {"run": finished} | params
        at = app(page, **params)
        assert WRONG not in texts(at), (page, params)
        assert acting_on(at) == [], (page, params)


def test_a_number_with_23_digits_and_a_deep_table_are_reported(finished):
    at = app("losses", run=finished, epoch="9" * 23, noise_matrix=packed()[0])
    warnings = "\n".join(warning.value for warning in at.warning)
    assert r"epoch = '99999" in warnings
    assert "noise_matrix" in warnings
    assert "a packed table of numbers" in warnings
    assert at.header


def test_an_endless_url_is_not_read(finished):
    names = [name for name in PARAMS if name not in ("run", "dataset")]
    at = app("losses", run=finished, **dict.fromkeys(names, "9" * 3000))
    assert "so it was not read: allowed is 100,000" in texts(at)


@pytest.mark.parametrize("name", PARAMS)
def test_every_parameter_has_a_maximum_length(name):
    param = PARAMS[name]
    with pytest.raises(ValueError, match="in at most"):
        param.read("9" * (param.max_chars + 1))
    for text in packed():  # either read or refused
        with contextlib.suppress(ValueError):
            param.read(text)


def test_a_set_of_samples_has_a_maximum_size():
    with pytest.raises(ValueError):  # noqa: PT011
        sample_sets.unpack("A" * (sample_sets.LARGEST + 1))


def test_the_guard_covers_the_frame(root, monkeypatch):
    """Also what runs before and after the page."""
    for name in ("sync", "problems"):
        with monkeypatch.context() as patch:
            patch.setattr(url_state, name, lambda *_: 1 / 0)
            at = app("train")
            assert f"{WRONG}: ZeroDivisionError" in texts(at)


# --- run folders


def poisoned(root, template, poison) -> str:
    shutil.copytree(template, root / "poisoned")
    poison(root / "poisoned")
    return "poisoned"


@pytest.mark.parametrize("kind", POISONS)
def test_a_poisoned_folder_is_listed_as_broken(kind, finished, root, template, monkeypatch):
    monkeypatch.setenv("MIXNN_TEST_MARK", str(root.parent / "executed"))
    name = poisoned(root, template, POISONS[kind])
    where = runs().info(name)
    assert where.state == "broken"
    assert len(where.message) > 20
    rows = {row["name"]: row for row in run_table.rows(root)}
    if (root / name / "config.json").exists():
        assert rows[name]["state"] == "broken"
        assert rows[name]["message"]
    assert rows[finished]["state"] == "done"
    assert len(run_table.table(rows.values())) == len(rows)


LISTS = ("runs", "compare", "train", "losses", "your_data")
COLLATERAL = (
    "deep config",
    "state unknown",
    "state a list",
    "records numbers",
    "records of format 1 a dict",
)


@pytest.mark.parametrize("own", [True, False])
def test_bad_folders_never_break_a_list(own, finished, root, template):
    """All kinds that broke pages, next to a good run, and a name that is not UTF-8."""
    for kind in COLLATERAL:
        shutil.copytree(template, root / kind)
        POISONS[kind](root / kind)
    shutil.copytree(os.fsencode(template), os.fsencode(root) + b"/caf\xe9")
    for run in [finished] if own else [*COLLATERAL, r"caf\udce9"]:
        for page in LISTS:
            at = app(page, run=run, compare=f"{finished},{run}")
            assert WRONG not in texts(at), (run, page)
            if not own and page in ("losses", "your_data"):
                assert "Select another run, or delete this folder" in texts(at)
            if page == "runs":
                states = at.dataframe[0].value["state"].tolist()
                assert states.count("broken") == len(COLLATERAL) + 1


def test_poisoned_contents_end_in_a_message(root, template, monkeypatch):
    monkeypatch.setenv("MIXNN_TEST_MARK", str(root.parent / "executed"))
    kinds = {
        "given too large": IN_LABELS,
        "given claims a terabyte": IN_LABELS,
        "loss claims a terabyte": IN_ARRAYS,
        "arrays lead out": IN_ARRAYS,
        "state pickled": IN_STATES,
        "neighbors outside": IN_ROWS,
        "prediction negative": IN_ROWS,
    }
    for kind, among in kinds.items():
        shutil.copytree(template, root / kind)
        among[kind](root / kind)
        for page in ("train", "noise", "losses", "map", "sample", "labels", "compare", "your_data"):
            at = app(page, run=kind, sample=1, layout="pca")
            assert WRONG not in texts(at), (kind, page)
    assert not (root.parent / "executed").exists()


def test_a_run_in_a_folder_with_a_strange_name_can_be_deleted(root, template):
    shutil.copytree(os.fsencode(template), os.fsencode(root) + b"/caf\xe9")
    assert runs().names() == [r"caf\udce9"]
    assert "not UTF-8" in runs().info(r"caf\udce9").message
    runs().delete(r"caf\udce9", EVERYONE)
    assert runs().names() == []
