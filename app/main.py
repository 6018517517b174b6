"""The frame: streamlit run app/main.py. Navigation, path line and the guard around each page."""

import os
import sys
from pathlib import Path

APP = Path(__file__).resolve().parent
# streamlit puts app/ on the path: the project's root belongs there instead, from any folder
sys.path[:] = [str(APP.parent)] + [p for p in sys.path if p and Path(p).resolve() != APP]
# training leaves a core to the pages
os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) - 1)))

import streamlit as st  # noqa: E402

from app import choices, looks, widgets  # noqa: E402

PAGES = [
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
    """Where we are: run > epoch > sample."""
    chosen = [("Run", "run"), ("epoch", "epoch"), ("sample", "sample")]
    parts = [
        f"{word} {choices.get(name)}" for word, name in chosen if choices.get(name) is not None
    ]
    lasso = choices.get("lasso")
    if lasso:
        parts.append(f"{len(lasso):,} samples selected")
    st.caption(" › ".join(parts) or "No run chosen yet")


def main() -> None:
    icon = str(APP.parent / "assets" / "icon.png")  # a Material icon would come from the network
    st.set_page_config("MixNN Lab", icon, layout="wide")
    st.html(APP / "style.css")
    found = [entry for entry in PAGES if (APP / "views" / f"{entry[0]}.py").exists()]
    pages = [
        st.Page(f"views/{file}.py", title=title, icon=f":material/{icon}:", default=file == "train")
        for file, title, icon in found
    ]
    # the first look at a teacher's link comes before its choices are taken up
    guide = choices.get("guide") or st.query_params.get("guide") == "1"
    page = st.navigation(pages, position="hidden" if guide else "top")
    choices.sync()
    for problem in choices.problems():
        st.warning(problem)
    try:
        looks.in_turn(page.run)
    except Exception as error:  # a page never shows a traceback
        widgets.explain(error)
    if not guide:
        path_line()


main()
