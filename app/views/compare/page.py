"""Compare: does it help, and why?"""

import streamlit as st

from app.components import run_list, run_names
from app.components.page import head, parts
from app.server.visible_runs import runs
from app.state.url_state import get, put
from app.views.compare import choice, comparison, experiments, panels, side_by_side, sweeps
from engine.analysis import run_table

ALWAYS = {"runs": "All runs", "sweeps": "Sweeps"}  # parts of the page without chosen runs as well


def main() -> None:
    head(
        "Does it help, and why?",
        experiments.SENTENCE
        if experiments.are_chosen()
        else "Runs on the same images, side by side at the same epoch: how accurate they are, what "
        "they memorize, and the features they learn.",
        "method",
        "cross-entropy",
        "test accuracy",
        "memorization",
        "label recovery",
        "AUROC",
        "loss",
        "PCA",
        "K",
        "alpha",
        "seed",
        "fork",
        "noise rate",
    )
    experiments.choose()
    if experiments.are_chosen():
        experiments.show()
        return
    active = {info.name: info.state for info in runs().active()}
    rows = run_table.rows(runs().root, active, shown=runs().sees_folder)
    names = choice.chosen_runs(rows)
    labels = run_names.labels(rows)
    choice.choose(rows, names, labels)
    if not rows:
        st.info(
            "There is no run yet. The button above trains a pair to compare; it takes half a "
            "minute on the digits."
        )
        return
    names, waiting = side_by_side.ready(names)
    if names:
        shown = side_by_side.show(names, waiting, rows)
    elif waiting:
        side_by_side.wait(waiting)
    of_names = {"losses": "Losses", "maps": "Maps"} if names else {}
    first = "sweeps" if get("sweep") else "runs" if get("like") else None
    part = parts(of_names | ALWAYS, first)
    if part == "losses":
        panels.loss_panels(*shown)
    elif part == "maps":
        panels.map_panels(*shown)
    elif part == "runs":
        st.subheader("All runs", anchor=False)
        run_list.table(rows, labels, names + waiting, compare_marked)
    else:
        sweeps.show()


def compare_marked(names: list[str]) -> None:
    """Compare the runs whose rows are marked."""
    put(compare=tuple(names[: comparison.MAX_RUNS]))


main()
