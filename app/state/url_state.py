"""What the visitor selected: stored in the session, mirrored in the URL, shared by all pages.

The values are in the session under one key; widgets show them (`bound`) and report changes, so they
survive a switch of pages, and the URL always contains all of them.
"""

from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import streamlit as st

from app.server import streamlit_internals
from app.server.visitors import CHOICES
from app.state import sample_sets
from app.state.parameters import (
    MAX_PACKED,
    Param,
    choice,
    finite,
    flag,
    names_from,
    one_of,
    pack,
    share_key,
    table,
    weights,
    whole,
)
from engine.config import METHOD_ALIASES, METHODS, NETWORK_ALIASES, PRESET_ALIASES, PRESET_NAMES

SENT, CHANGED, PROBLEMS = "choices.sent", "choices.changed", "choices.problems"  # of the session
SHOWN, DRAWING = "choices.shown", "choices.drawing"
LISTED = "choices.listed"  # of the session: the parameters in the address of this page; None: all
MAX_URL = 100_000  # characters of all values together
MAX_SENT = 50  # latest URLs, which the browser may not have received yet
MAX_SHOWN = 10  # revisions of a widget; later ones reuse the first keys

_whole = Param(None, whole, words="a whole number from 0")
_share = Param(None, finite, words="a number")

# The settings of the next run; None: the value of the data set's preset.
SETTINGS: dict[str, Param] = {
    "dataset": Param("digits"),
    "noise": Param(None),
    "rate": _share,
    "k": _whole,
    "alpha": _share,
    "warmup": _whole,
    "correction_start": _whole,
    "correction": Param(None),
    "network": Param(None, lambda text: NETWORK_ALIASES.get(text, text)),
    "epochs": _whole,
    "seed": Param(0, whole, words="a whole number from 0"),
    "limit": _whole,
    "learning_rate": _share,
    "batch_size": _whole,
    "noise_matrix": Param(None, table, pack, "a packed table of numbers", MAX_PACKED),
    "margin_type": Param(None),
    "human_labels": Param(None),
}

PARAMS: dict[str, Param] = {
    **SETTINGS,
    "method": choice(*METHODS, default="mixnn", aliases=METHOD_ALIASES),
    "preset": choice(*PRESET_NAMES, aliases=PRESET_ALIASES),
    # the selection, shared by all pages
    "run": Param(entry=True),
    "key": Param(None, share_key, words="the key of a share link"),
    "epoch": _whole,  # None: the newest
    "sample": replace(_whole, entry=True),
    "beside": _whole,  # a second sample
    "lasso": Param(
        (),
        sample_sets.unpack,
        sample_sets.pack,
        "a packed set of samples, or the name of a stored one",
        MAX_PACKED,
    ),
    # how a page shows it
    "part": Param(),  # which of a page's parts is shown, see `page.parts`
    "shuffle": Param(0, whole, words="a whole number from 0"),  # seed of a random search
    "find": Param(""),  # part of a sample's name
    "mix": Param(None, weights, lambda v: "-".join(map(str, v)), "weights 0 to 100, like 60-30-10"),
    "color": choice("given", "true", "corrected", "clean", "loss", "changed"),
    "layout": choice("umap", "pca"),
    "dims": Param(2, {"2": 2, "3": 3}.__getitem__, words="2 | 3"),
    "class": _whole,  # one class of Noise, Losses or Sample
    "threshold": Param(0.5, finite, words="a number from 0 to 1"),  # on P(clean)
    "loss": choice("scaled", "plain"),
    "bars": choice("cut", "full", "log"),
    "lines": choice("loss", "clean"),
    "who": choice("typical", "chosen"),  # samples whose curves over the epochs are shown
    "noise_of": choice("run", "settings"),
    "given_class": _whole,
    "draw": Param(0, whole, words="a whole number from 0"),  # seed of the shown mislabeled samples
    "experiment": Param(entry=True),  # which one Compare shows; all: their list; None: runs
    "result": Param(),  # of that experiment, see `experiment_results.of`
    "compare": Param((), names_from, ",".join, "names of runs, separated by commas", entry=True),
    "against": Param(entry=True),  # the run beside the one that Player shows
    "fool": flag(),  # Player gives wrong labels by hand
    "metric": Param(),  # the fourth curve of Compare
    "seeds": flag(),  # Compare shows means over seeds
    "each_seed": flag(),  # and the curve of each seed
    "seed_metric": choice("test_last", "test_best", "labels_right", "memorized", "auroc"),
    "mixed": flag(),  # sweeps include forks and runs changed while they trained
    "like": Param(""),  # words that filter the table of runs
    "marked": Param((), names_from, ",".join, "names of runs, separated by commas"),  # on Runs
    "sweep": Param(entry=True),  # the folder whose heat maps Compare shows
    "sweep_of": Param(),
    "sweep_metric": Param(),
    "changes": choice(  # listed on Labels
        "all",
        "corrected",
        "missed",
        "harmed",
        "changed",
        aliases={"helpful": "corrected", "harmful": "harmed", "neutral": "changed"},
    ),
    "confusion": choice("after", "before"),
    "kept": flag(),  # in the flow of labels
    # own data and the review of its labels
    "upload": Param(entry=True),
    "step": Param(
        None, one_of("bring", "check", "review", "take"), words="a step of Your data", entry=True
    ),
    "desk_view": choice("one", "wall"),
    "desk_show": choice("open", "decided", "all"),
    "desk_class": _whole,
    "desk_sure": _share,
    "accept": _share,
    "guide": flag(),  # a teacher's link
}


def declare(params: Mapping[str, Param]) -> None:
    """Add the parameters of one page; declaring them again changes nothing."""
    PARAMS.update(params)


def get(name: str) -> Any:
    """The selected value of a parameter, or its default."""
    return _kept().get(name, PARAMS[name].default)


def put(**values: Any) -> None:
    """Select values; None is the default. Updates the URL."""
    kept = _kept()
    for name, value in values.items():
        if value is None or value == PARAMS[name].default:
            kept.pop(name, None)
        else:
            kept[name] = value
    if not st.session_state.get(DRAWING):
        st.session_state[CHANGED] = True
        publish()


def bound(
    name: str,
    shown: Any = None,
    *,
    within: tuple[float, float] | None = None,
    convert: Callable[[Any], Any] | None = None,
    instead: bool = False,
) -> dict:
    """key and on_change of a widget that shows and changes a value.

    shown: what to show if nothing is selected; with instead, in any case. within: the widget's
    range; a link may exceed it. convert: the widget's value -> the value to store. See `chosen`.
    """
    value = get(name)
    value = shown if value is None or instead else value
    if within is not None and value is not None:
        value = type(value)(min(max(value, within[0]), within[1]))
    return chosen(name, value, lambda new: put(**{name: convert(new) if convert else new}))


def chosen(name: str, value: Any, store: Callable[[Any], None]) -> dict:
    """key and on_change of a widget that shows a value and stores what the visitor chooses.

    A value changed elsewhere is shown by a new widget, with a revision in its key: a browser may
    still report the value of the old one, together with its next event.
    """
    versions = st.session_state.setdefault(SHOWN, {}).setdefault(name, {0: value})
    revision = next(reversed(versions))
    if versions[revision] != value:
        revision = (revision + 1) % MAX_SHOWN
        versions.pop(revision, None)
        versions[revision] = value
    key = f"w-{name}-{revision}" if revision else f"w-{name}"
    st.session_state[key] = value

    def take() -> None:
        value = st.session_state.get(key)
        if revision in versions and versions[revision] != value:
            versions[revision] = value
            store(value)

    return {"key": key, "on_change": take}


def link(**changes: Any) -> dict[str, str]:
    """Query parameters of the whole selection, with changes, for a link to a page."""
    values = _kept() | changes
    return {
        name: PARAMS[name].format(value)
        for name, value in values.items()
        if value is not None and value != PARAMS[name].default
    }


def sync(listed: Container[str] | None = None) -> None:
    """Read the URL if the visitor changed it; call it once, before a page is drawn.

    listed: the parameters that this page's address holds; the others stay selected without being in
    it. None: all of them.
    """
    st.session_state[LISTED] = listed
    url = {name: text for name, text in st.query_params.to_dict().items() if name in PARAMS}
    sent = st.session_state.setdefault(SENT, [])
    changed = st.session_state.pop(CHANGED, False)
    if url and url not in sent[-1:]:  # a switch of pages removes the parameters
        if url not in sent or _went_back(changed):
            values, st.session_state[PROBLEMS] = read(url)
            others = {name: value for name, value in _kept().items() if not _is_listed(name)}
            st.session_state[CHOICES] = others | values
            sent.clear()
        else:
            del sent[: sent.index(url)]
    elif url:
        del sent[:-1]
    publish()


def _went_back(changed: bool) -> bool:
    """Whether the visitor went to an earlier URL, by Back or Forward; else it was not replaced yet.

    changed: whether a widget or a button changed a value; decides if Streamlit does not know.
    """
    went_back = streamlit_internals.history_navigation()
    return not changed if went_back is None else went_back


def read(url: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The values of a URL's parameters, and one sentence for each that is invalid."""
    if (n := sum(map(len, url.values()))) > MAX_URL:
        return {}, [f"The link has {n:,} characters, so it was not read: allowed is {MAX_URL:,}"]
    values, problems = {}, []
    for name, text in url.items():
        try:
            values[name] = PARAMS[name].read(text)
        except ValueError as error:
            problems.append(f"{name} = {text[:60]!r} in the link: allowed is {error}")
    return values, problems


def publish() -> None:
    """Write the selection into the URL, next to other parameters."""
    mine = {name: text for name, text in link().items() if _is_listed(name)}
    sent = st.session_state.setdefault(SENT, [])
    if not sent or sent[-1] != mine:
        sent.append(mine)
        del sent[:-MAX_SENT]
    present = st.query_params.to_dict()
    others = {name: text for name, text in present.items() if name not in PARAMS}
    if present != others | mine:
        st.query_params.from_dict(others | mine)


@contextmanager
def one_entry() -> Iterator[None]:
    """Context of a page's run: its selections are written into the URL once, at the end."""
    st.session_state[DRAWING] = True
    try:
        yield
    finally:
        st.session_state[DRAWING] = False
        publish()


def problems() -> list[str]:
    """Problems of the link; returned only once."""
    return st.session_state.pop(PROBLEMS, [])


def _is_listed(name: str) -> bool:
    listed = st.session_state.get(LISTED)
    return listed is None or name in listed


def _kept() -> dict[str, Any]:
    return st.session_state.setdefault(CHOICES, {})
