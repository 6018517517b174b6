"""Sample: what did MixNN do with this image?"""

import numpy as np
import streamlit as st

from app.components import epoch_slider, page, run_picker
from app.server import escaping, run_cache
from app.server.run_view import RunView
from app.state import selection
from app.state.url_state import bound, get, put
from app.views.sample import card, manual_mixing
from app.views.sample.sample import Sample
from engine.analysis import sample_search
from engine.errors import StoreError


def labels_of(view: RunView) -> sample_search.EpochLabels:
    """What the searches use: the labels of an epoch."""
    kept = view.labels
    return sample_search.EpochLabels(
        given=kept["given"],
        true=kept.get("true"),
        names=kept.get("ids"),
        soft=view.values("soft"),
        clean=view.values("clean"),
    )


def search(labels: sample_search.EpochLabels, classes: list[str]) -> np.ndarray:
    """The search controls; returns the ids found, in their order."""
    options = sample_search.available_searches(
        truth=labels.true is not None, lasso=bool(get("lasso")), names=labels.names is not None
    )
    wish = get("search")
    if wish is not None and wish not in options:
        why = (
            "the truth is not known here"
            if sample_search.SEARCHES[wish].needs_truth
            else "it is empty"
        )
        st.info(f"The search “{sample_search.SEARCHES[wish].title}” cannot be used: {why}.")
        wish = None
    if wish is None:
        # a corrected sample tells the most
        wish = "corrected" if len(sample_search.most_corrected(labels)) else "doubted"
        put(search=wish)
    st.selectbox(
        "Find samples",
        options,
        format_func=lambda key: sample_search.SEARCHES[key].title,
        width=210,
        label_visibility="collapsed",
        **bound("search", convert=_restart),
    )
    kind = sample_search.SEARCHES[wish]
    arguments = []
    if kind.argument == "class":
        chosen = min(get("class") or 0, len(classes) - 1)
        st.selectbox(
            "Class",
            range(len(classes)),
            format_func=lambda c: classes[c],
            width=150,
            label_visibility="collapsed",
            **bound("class", shown=chosen, convert=_restart),
        )
        arguments = [chosen]
    elif kind.argument == "seed":
        st.button(
            "Shuffle",
            icon=":material/shuffle:",
            on_click=put,
            kwargs={"shuffle": get("shuffle") + 1, "sample": None, "mix": None},
        )
        arguments = [get("shuffle")]
    elif kind.argument == "text":
        st.text_input(
            "Part of the name",
            width=200,
            label_visibility="collapsed",
            placeholder="part of the name",
            **bound("find", convert=_restart),
        )
        arguments = [get("find")]
    elif kind.argument == "ids":
        arguments = [get("lasso")]
    return sample_search.find_samples(wish, labels, *arguments)


def walk(ids: np.ndarray, n: int) -> int | None:
    """Next and previous within the list found, and the way to any number; returns the sample."""
    sample = selection.sample(n)
    if sample is None and get("sample") is not None:
        st.warning(f"sample = {get('sample')}: allowed is 0 to {n - 1}")
    if sample is None:
        if not len(ids):
            return None
        sample = int(ids[0])
        put(sample=sample)
    before, after = sample_search.previous_and_next(ids, sample)
    steps = (("Previous", "navigate_before", "P", before), ("Next", "navigate_next", "N", after))
    for title, icon, shortcut, target in steps:
        st.button(
            title,
            icon=f":material/{icon}:",
            shortcut=shortcut,
            disabled=target is None,
            on_click=put,
            kwargs={"sample": target, "mix": None},
            help=f"{title} sample of this list",
        )
    st.markdown("Sample", width="content")
    st.number_input(
        "Sample",
        0,
        n - 1,
        width=130,
        label_visibility="collapsed",
        **bound("sample", convert=_fresh),
    )
    return sample


def _restart(value):
    """A new search begins with its first sample."""
    put(sample=None, mix=None)
    return value


def _fresh(value):
    """Weights by hand belong to one sample."""
    put(mix=None)
    return value


def found(ids: np.ndarray, sample: int | None) -> None:
    """Where in the list we are."""
    kind = sample_search.SEARCHES[get("search")]
    if not len(ids):
        st.caption(f"{kind.description} **None at this epoch.**")
        return
    position = sample_search.position_of(ids, sample)
    where = "not in this list" if position is None else f"number {position + 1:,}"
    st.caption(f"{kind.description} **{len(ids):,} found; sample {sample} is {where}.**")


def second(sample: int, n: int) -> None:
    """A button that puts another sample beside this one, or takes it away."""
    if get("beside") is None:
        st.button(
            "Second sample",
            icon=":material/splitscreen_right:",
            on_click=put,
            kwargs={"beside": (sample + 1) % n},
            help="Two samples side by side",
        )
    else:
        st.button("One sample", icon=":material/close:", on_click=put, kwargs={"beside": None})


def beside(view: RunView, n: int) -> None:
    """The card of the second sample, with a way to choose it."""
    other = get("beside")
    if other >= n:
        st.warning(f"beside = {other}: allowed is 0 to {n - 1}")
        other = n - 1
    st.number_input("Second sample", 0, n - 1, width=160, **bound("beside", shown=other))
    card.draw(Sample(view, other), narrow=True, key="-beside")


page.head(
    "What did MixNN do with this image?",
    "Follow one label from given to corrected: whom the image was mixed with, how much each "
    "weighed, and what the network said, so that you can judge for yourself.",
    "given label",
    "true label",
    "corrected label",
    "soft label",
    "loss",
    "P(clean)",
    "neighbors",
    "K",
    "features",
    "mixing",
    "weights",
    "mixup",
    "warm-up",
    "epoch",
)
name = run_picker.pick_run()
view = RunView(name, epoch_slider.scrub(name))
labels = labels_of(view)
n = len(labels.given)
with st.container(horizontal=True, vertical_alignment="center", key="search"):
    ids = search(labels, view.classes)
    sample = walk(ids, n)
    if sample is not None:
        second(sample, n)
found(ids, sample)
if sample is None:
    page.empty(
        "No sample to show. Choose another search above, or an epoch in which labels have moved.",
        "views/sample/page.py",
        "Show all samples",
        search="all",
    )
try:
    run_cache.data_of(view.run)
except StoreError as error:
    st.warning(
        f"{escaping.lines(error)}. The numbers are all here.", icon=":material/image_not_supported:"
    )
if get("beside") is None:
    card.draw(Sample(view, sample))
else:
    left, right = st.columns(2, gap="large")
    with left:
        st.number_input("First sample", value=sample, width=160, key="first", disabled=True)
        card.draw(Sample(view, sample), narrow=True)
    with right:
        beside(view, n)
manual_mixing.mix_by_hand(name, view.row, sample)
