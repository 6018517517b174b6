"""The frame of every page: navigation, path line, and a guard that shows errors as a message."""

from pathlib import Path
from typing import Any

import streamlit as st

from app import warm_up
from app.components import history, live_updates, passcode_form, run_names
from app.components.page import guarded
from app.server import endpoints, escaping
from app.server.experiments import experiments
from app.server.run_manager import runs
from app.server.visitors import page_begins
from app.state import url_state
from app.views.home import pair
from app.views.lesson import steps
from app.views.sample import sample

APP = Path(__file__).resolve().parent

PAGES = [
    ("home", "Home", "home"),
    ("player", "Player", "slideshow"),
    ("train", "Train", "play_circle"),
    ("noise", "Noise", "shuffle"),
    ("losses", "Losses", "bar_chart"),
    ("map", "Map", "scatter_plot"),
    ("sample", "Sample", "image_search"),
    ("labels", "Labels", "label"),
    ("compare", "Compare", "compare_arrows"),
    ("your_data", "Your data", "folder_open"),
    ("lesson", "Lesson", "school"),
    ("runs", "Runs", "dns"),
]


def path_line() -> None:
    """Show the selection: run > epoch > sample."""
    chosen = [("Run", "run"), ("epoch", "epoch"), ("sample", "sample")]
    parts = []
    for word, name in chosen:
        if (value := url_state.get(name)) is not None:
            value = run_names.labels().get(value, value) if name == "run" else value
            parts.append(f"{word} {escaping.markdown(value)}")
    lasso = url_state.get("lasso")
    if lasso:
        parts.append(f"{len(lasso):,} samples selected")
    st.caption(" › ".join(parts) or "No run chosen yet")


def navigation() -> tuple[Any, bool]:
    """The page of the address, and whether a teacher's link hides the navigation."""
    existing = [entry for entry in PAGES if (APP / "views" / entry[0] / "page.py").exists()]
    pages = [
        st.Page(
            f"views/{name}/page.py",
            title=title,
            icon=f":material/{icon}:",
            url_path=name,
            default=name == "home",
        )
        for name, title, icon in existing
    ]
    # the first run of a teacher's link comes before its parameters are read
    guide = url_state.get("guide") or st.query_params.get("guide") == "1"
    return st.navigation(pages, position="hidden" if guide else "top"), guide


@guarded
def main() -> None:
    """Draw the frame and the current page."""
    url_state.declare(steps.PARAMS | sample.PARAMS | pair.PARAMS)
    icon = str(APP.parent / "assets" / "icon.png")  # a Material icon would come from the network
    st.set_page_config("MixNN Lab", icon, layout="wide")
    history.steps(url_state.PARAMS)
    page, guide = navigation()
    page_begins()
    passcode_form.recall()
    home = page.url_path == ""
    url_state.sync(pair.ADDRESS if home else None)
    for problem in url_state.problems():
        st.warning(escaping.markdown(problem, escaping.MOST_ERROR))
    if not runs().trains_here:
        st.warning(runs().refusal, icon=":material/dns:")
    with endpoints.page(), url_state.one_entry():
        guarded(live_updates.in_turn)(page.run)
    if not guide and not home:
        path_line()
    experiments()  # after a restart, those that were started continue
    warm_up.first_page_drawn()


main()
