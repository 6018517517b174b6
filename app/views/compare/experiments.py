"""Experiments: questions about the method, their answers, and the one that is opened."""

import streamlit as st

from app.components import page
from app.server import escaping
from app.server.experiments import experiments
from app.state.url_state import bound, get, link
from app.views.compare import experiment_results, experiment_runs
from engine.experiments import stored
from engine.experiments.registry import EXPERIMENTS

ALL = "all"  # value of the URL parameter `experiment`: their list
SENTENCE = (
    "Questions about the method, each answered by runs with several seeds: means with 95 % "
    "intervals, and tests of the differences."
)
KINDS = {"runs": "Runs side by side", "experiments": "Experiments"}


def are_chosen() -> bool:
    """Whether Compare shows experiments, and not runs."""
    return get("experiment") is not None


def choose() -> None:
    """The choice between runs and experiments."""
    chosen = "experiments" if are_chosen() else "runs"
    convert = {"runs": None, "experiments": ALL}.get
    page.switch(
        "What is compared", KINDS, **bound("experiment", chosen, instead=True, convert=convert)
    )


def show() -> None:
    """The experiment that the URL names, or the list of all."""
    name = get("experiment")
    if name in EXPERIMENTS:
        opened(name)
        return
    if name != ALL:
        st.error(f"experiment = {escaping.markdown(repr(name))} does not exist: choose another.")
    with st.container(key="experiment-list"):
        for name, entry in EXPERIMENTS.items():
            in_short = stored.conclusions().get(name)
            question, answer, results = st.columns([6, 5, 3], vertical_alignment="center")
            question.page_link(
                "views/compare/page.py",
                label=entry.question,
                query_params=link(experiment=name, result=None),
            )
            answer.markdown(
                f"{in_short.short[0].upper()}{in_short.short[1:]}." if in_short else "–"
            )
            results.caption(measured_on(name))
    st.caption(
        "Answers in short, from the results that are part of the project. Intervals, limits and "
        "what has not been measured are on the page of each question."
    )


def measured_on(name: str) -> str:
    """The data of the results of an experiment, in the project and of this server, as Markdown."""
    by_home: dict[str, list[str]] = {}
    for home, data in experiment_results.of(name).values():
        by_home.setdefault(home, []).append(data)
    words = [
        f"{', '.join(data)} ({experiment_results.HOMES[home]})" for home, data in by_home.items()
    ]
    job = experiments().job(name)
    if job is not None and job.live:
        words.append(f"{job.n_done} of {job.n_runs} runs done")
    return escaping.markdown("; ".join(words) or "no result yet")


def opened(name: str) -> None:
    """One experiment: what it answers, its runs on this server, its results."""
    with st.container(horizontal=True, vertical_alignment="center", key="experiment-head"):
        st.subheader(EXPERIMENTS[name].question, anchor=False)
        st.space("stretch")
        st.page_link(
            "views/compare/page.py",
            label="All experiments",
            icon=":material/arrow_back:",
            query_params=link(experiment=ALL, result=None),
            width="content",
        )
    bar = st.container(border=True, key="experiment-runs")
    experiment_results.show(name)
    with bar:  # last: after a start of the server it imports PyTorch
        experiment_runs.show(name)
