"""Step 2 of Your data: what checks found in an upload, and the start of a run."""

import json
from collections.abc import Iterable

import numpy as np
import pandas as pd
import streamlit as st

from app.components import downloads, figures
from app.components.text import minutes
from app.server import escaping, run_cache
from app.server.uploads import registry
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state.url_state import get, put
from app.views.your_data import check_cards
from engine.analysis import data_checks, suggestions
from engine.analysis.checks.report import Report, key_figures
from engine.charts import review as charts
from engine.data import load
from engine.data.layout import says_loss
from engine.errors import EngineError
from engine.reports.check import Urls, check_page, thumbnails
from engine.runs.folder import open_run
from engine.runs.forks import data_of

SIDES = (32, 48, 64, 96, 128, 160, 224)  # pixels


def show() -> None:
    """The checks of an upload, and the start of a run."""
    key = get("upload") or ""
    # an upload of another visitor is answered like a missing one
    upload = registry.find(key, runs().root) if runs().may_open(key) else None
    if upload is None:
        say_missing()
        return
    try:
        report, urls = checked(upload.dataset, upload.at, *_run_on(upload.dataset))
    except (EngineError, ValueError) as error:
        st.error(f"{escaping.markdown(upload.name)} can no longer be read: {escaping.lines(error)}")
        return
    st.markdown(f"**{escaping.markdown(upload.name)}**")
    with st.container(horizontal=True, gap="large", key="counts"):
        for label, value in key_figures(report).items():
            st.metric(label, value, width="content")
    left, right = st.columns([9, 4], gap="medium")
    with left:
        st.caption(escaping.markdown(report.evidence, escaping.MOST_ERROR))
        uploaded(upload.notes, report)
        left_out(dict([*upload.left_out, *report.left_out]))
        check_cards.show(report, urls)
    with right:
        start(upload.dataset, upload.at, report, rows=upload.form == "features")
        save(report, urls, upload.name)
        fig = charts.class_counts(list(report.classes), np.array(report.class_counts))
        st.markdown("**Samples of each class**")
        figures.show(fig, "classes", alt="Bars: number of training samples of each class")


def say_missing() -> None:
    """There is no upload to check: say so, and how to upload one."""
    if get("upload"):
        st.warning("This upload is no longer on the server. Upload it again.")
    else:
        st.info("Nothing was uploaded yet. Start with step 1.")
    st.button("Upload data", on_click=put, kwargs={"step": "bring"}, icon=":material/upload:")


def uploaded(notes: Iterable[str], report: Report) -> None:
    """What was left out when the file was unpacked."""
    own = [note for note in notes if note not in report.notes]
    for note in own:
        if says_loss(note):
            st.warning(escaping.markdown(note, escaping.MOST_ERROR), icon=":material/warning:")
        else:
            st.caption(escaping.markdown(note, escaping.MOST_ERROR))


def save(report: Report, urls: Urls, name: str) -> None:
    """The whole report as a page and as JSON."""
    stem = name.rpartition(".")[0] or name
    with st.container(horizontal=True):
        downloads.button(
            "Report",
            lambda: check_page(report, urls),
            f"{stem}-check.html",
            mime="text/html",
            key="report-html",
            help="All checks as a page that opens without a server",
        )
        downloads.button(
            "JSON",
            lambda: json.dumps(report.as_dict()),
            f"{stem}-check.json",
            mime="application/json",
            key="report-json",
            help="All findings, with the ids of the samples",
        )


def left_out(files: dict[str, str]) -> None:
    """A list of all files that were left out. files: name -> reason."""
    if not files:
        return
    with st.expander(f"All files that were left out ({len(files):,})", icon=":material/list:"):
        st.dataframe(
            pd.DataFrame({"file": list(files), "reason": list(files.values())}),
            hide_index=True,
            key="left-out",
            height=min(36 * len(files) + 38, 330),
            alt="Files that were left out, and why",
        )
        st.caption("Step 4 hands them back as they came.")


def start(dataset: str, at: float, report: Report, *, rows: bool) -> None:
    """A few settings, the time it takes, and the button."""
    with st.container(border=True, key="tuned"):
        st.markdown("**Let MixNN find wrong labels**")
        mirror, size, fit = False, None, "pad"
        if not rows:
            mirror = st.checkbox(
                "A mirrored image still shows its class",
                value=False,
                key="mirror",
                help="True for animals and most objects, not for letters, digits and road signs. "
                "The network then trains on mirrored images as well.",
            )
        thorough = st.segmented_control(
            "How long",
            [True, False],
            default=True,
            required=True,
            key="thorough",
            format_func={True: "Thorough", False: "Quick"}.__getitem__,
        )
        if not rows:
            size, fit = image_size(report)
        left = estimated_seconds(dataset, at) * (1 if thorough else 0.5)
        if size is not None:
            _, height, width = report.shape
            left *= size**2 / (height * width)
        st.caption(
            f"About **{minutes(left)}** on this machine. Your labels are used unchanged: no noise "
            "is added."
        )
        if st.button("Find wrong labels", type="primary", icon=":material/search:", key="find"):
            config = suggestions.suggested_settings(
                load(dataset), mirror=mirror, thorough=bool(thorough)
            ).changed(image_fit=fit, image_size=size)
            name = runs().submit(config, visitor=visitor())
            put(run=name, step="review", epoch=None, sample=None, lasso=None)
            st.rerun()


def image_size(report: Report) -> tuple[int | None, str]:
    """The side in pixels, None for the common size, and how other aspect ratios become it."""
    size = st.selectbox(
        "Longest side of the images",
        [None, *sizes(report.shape)],
        key="size",
        format_func=lambda side: side_name(report.shape, side),
        help="Automatic follows the median width and height of the training images, shrunk to "
        "64 pixels. Larger images show finer details, and take time and memory by the square "
        "of their side.",
    )
    fit = "pad"
    if any("of another aspect ratio" in note for note in report.notes):
        fit = st.segmented_control(
            "Images of another aspect ratio",
            ["pad", "crop"],
            default="pad",
            required=True,
            key="fit",
            format_func={"pad": "Pad", "crop": "Crop"}.__getitem__,
            help="Pad keeps the whole image, with black borders. Crop cuts two sides.",
        )
    return size, fit


def sizes(shape: tuple[int, ...]) -> list[int]:
    """The sides in pixels that can be chosen for images whose common shape is (C, H, W)."""
    return [side for side in SIDES if side != max(shape[1:])]


def side_name(shape: tuple[int, ...], side: int | None) -> str:
    """A side in words; None is the common size."""
    _, height, width = shape
    if side is None:
        return f"Automatic: {width} \N{MULTIPLICATION SIGN} {height}"
    return f"{side} pixels"


def _run_on(dataset: str) -> tuple[str | None, int]:
    """The visitor's run on this data and its number of epochs, or none: it judges the labels."""
    name = get("run")
    try:
        run = run_cache.run(name) if name else None
        if run is not None and run.config.dataset == dataset and run.epochs:
            return str(run.folder), len(run.epochs)
    except (EngineError, ValueError):
        pass
    return None, 0


@st.cache_resource(max_entries=8, show_spinner="Checking every image")
def checked(
    dataset: str, at: float, run: str | None, n_epochs: int
) -> tuple[Report, dict[tuple[str, int], str]]:
    """The report of all checks, and the images that it shows as data: URLs, by part and row.

    at: when the data was uploaded, n_epochs: of the run; make the cache forget what was replaced.
    """
    opened = None if run is None else open_run(run)
    data = load(dataset) if opened is None else data_of(opened)
    report = data_checks.check_data(data, opened)
    return report, thumbnails(report, data)


@st.cache_data(max_entries=8, show_spinner="Timing a few steps on this machine")
def estimated_seconds(dataset: str, at: float) -> float:
    """About how long a thorough run takes on this machine."""
    data = load(dataset)
    return suggestions.estimated_seconds(data, suggestions.suggested_settings(data, mirror=False))
