"""The search of the Sample page: which samples to list, and the steps through the list."""

from typing import Any

import numpy as np
import streamlit as st

from app.server.run_view import RunView
from app.state import selection
from app.state.url_state import bound, get, put
from engine.analysis import sample_search


def labels_of(view: RunView) -> sample_search.EpochLabels:
    """The labels of an epoch, as the searches use them."""
    labels = view.labels
    return sample_search.EpochLabels(
        given=labels["given"],
        true=labels.get("true"),
        names=labels.get("ids"),
        soft=view.values("soft"),
        clean=view.values("clean"),
    )


def search(labels: sample_search.EpochLabels, classes: list[str]) -> np.ndarray:
    """The search controls; returns the samples that match (n,), in the order of the search."""
    options = sample_search.available_searches(
        truth=labels.true is not None, lasso=bool(get("lasso")), names=labels.names is not None
    )
    chosen = _available_search(options, labels)
    st.selectbox(
        "Find samples",
        options,
        format_func=lambda key: sample_search.SEARCHES[key].title,
        width=210,
        label_visibility="collapsed",
        **bound("search", convert=_restart),
    )
    arguments = _search_arguments(sample_search.SEARCHES[chosen].argument, classes)
    return sample_search.find_samples(chosen, labels, *arguments)


def _available_search(options: list[str], labels: sample_search.EpochLabels) -> str:
    """The selected search; if this run cannot have it, the page says so and another is selected."""
    chosen = get("search")
    if chosen is not None and chosen not in options:
        kind = sample_search.SEARCHES[chosen]
        why = "the true labels are not known here" if kind.needs_truth else "it is empty"
        st.info(f"The search “{kind.title}” cannot be used: {why}.")
        chosen = None
    if chosen is None:
        # a corrected sample is the most instructive
        chosen = "corrected" if len(sample_search.most_corrected(labels)) else "doubted"
        put(search=chosen)
    return chosen


def _search_arguments(takes: str | None, classes: list[str]) -> list[Any]:
    """The control of a search that takes an argument, and its value in a list; else []."""
    if takes == "class":
        chosen = min(get("class") or 0, len(classes) - 1)
        st.selectbox(
            "Class",
            range(len(classes)),
            format_func=lambda c: classes[c],
            width=150,
            label_visibility="collapsed",
            **bound("class", shown=chosen, convert=_restart),
        )
        return [chosen]
    if takes == "seed":
        st.button(
            "Shuffle",
            icon=":material/shuffle:",
            on_click=put,
            kwargs={"shuffle": get("shuffle") + 1, "sample": None, "mix": None},
        )
        return [get("shuffle")]
    if takes == "text":
        st.text_input(
            "Part of the name",
            width=200,
            label_visibility="collapsed",
            placeholder="part of the name",
            **bound("find", convert=_restart),
        )
        return [get("find")]
    return [get("lasso")] if takes == "ids" else []


def walk(samples: np.ndarray, n: int) -> int | None:
    """Previous, Next and a field for any of n samples; returns the selected sample.

    samples: the list to walk through. None if it is empty and no sample is selected.
    """
    sample = selection.sample(n)
    if sample is None and get("sample") is not None:
        st.warning(f"sample = {get('sample')}: allowed is 0 to {n - 1}")
    if sample is None:
        if not len(samples):
            return None
        sample = int(samples[0])
        put(sample=sample)
    before, after = sample_search.previous_and_next(samples, sample)
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
        **bound("sample", convert=_reset_mix),
    )
    return sample


def position(samples: np.ndarray, sample: int | None) -> None:
    """A caption: what the search lists, how many, and the place of the selected sample."""
    kind = sample_search.SEARCHES[get("search")]
    if not len(samples) or sample is None:
        st.caption(f"{kind.description} **None at this epoch.**")
        return
    place = sample_search.position_of(samples, sample)
    where = "not in this list" if place is None else f"number {place + 1:,}"
    st.caption(f"{kind.description} **{len(samples):,} found; sample {sample} is {where}.**")


def _restart(value: Any) -> Any:
    """A new search begins with its first sample."""
    put(sample=None, mix=None)
    return value


def _reset_mix(value: Any) -> Any:
    """Weights set by hand belong to one sample."""
    put(mix=None)
    return value
