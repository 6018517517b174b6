"""Step 2 of Your data: what checks found in an upload, and the start of a run."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import streamlit as st

from app.components import figures, images
from app.components.text import minutes
from app.server import escaping
from app.server.uploads import registry
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state.url_state import get, put
from engine.analysis import data_checks
from engine.charts import review as charts
from engine.data import load
from engine.data.layout import says_loss
from engine.errors import StoreError

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
        checks, examples = check_data(upload.dataset, upload.at)
    except (StoreError, ValueError) as error:
        st.error(f"{escaping.markdown(upload.name)} can no longer be read: {escaping.lines(error)}")
        return
    st.markdown(f"**{escaping.markdown(upload.name)}**")
    with st.container(horizontal=True, gap="large", key="counts"):
        for label, value in data_checks.key_figures(checks).items():
            st.metric(label, value, width="content")
    left, middle, right = st.columns([5, 4, 4], gap="medium")
    with left:
        findings(checks, examples, upload.notes)
        left_out(dict([*upload.left_out, *checks.left_out]))
    with middle:
        fig = charts.class_counts(list(checks.classes), checks.counts)
        st.markdown("**Images of each class**")
        figures.show(fig, "classes", alt="Bars: number of training images of each class")
    with right:
        start(upload.dataset, upload.at, checks)


def say_missing() -> None:
    """There is no upload to check: say so, and how to upload one."""
    if get("upload"):
        st.warning("This upload is no longer on the server. Upload it again.")
    else:
        st.info("Nothing was uploaded yet. Start with step 1.")
    st.button("Upload data", on_click=put, kwargs={"step": "bring"}, icon=":material/upload:")


def findings(
    checks: data_checks.DataChecks, examples: dict[int, np.ndarray], notes: Iterable[str]
) -> None:
    """What the checks found. examples: row -> an image whose copies have other labels."""
    lost = [note for note in notes if says_loss(note)]
    warnings = [text for level, text in checks.findings if level == "warn"] + lost
    others = [text for level, text in checks.findings if level == "note"]
    others += [note for note in notes if note not in lost]
    if not warnings:
        st.success("Ready to train.", icon=":material/check_circle:")
    for text in warnings:
        st.warning(escaping.markdown(text, escaping.MOST_ERROR), icon=":material/warning:")
    if examples:
        captions = [
            " or ".join(checks.classes[label] for label in labels) + "?"
            for _, labels in checks.conflicts[: data_checks.MAX_SHOWN_CONFLICTS]
        ]
        images.wall(list(examples.values()), captions, size=72)
    if others:
        st.caption(
            "\n".join(f"- {escaping.markdown(text, escaping.MOST_ERROR)}" for text in others)
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


def start(dataset: str, at: float, checks: data_checks.DataChecks) -> None:
    """A few settings, the time it takes, and the button."""
    with st.container(border=True, key="tuned"):
        st.markdown("**Let MixNN find wrong labels**")
        mirror = st.checkbox(
            "A mirrored image still shows its class",
            value=False,
            key="mirror",
            help="True for animals and most objects, not for letters, digits and road signs. The "
            "network then trains on mirrored images as well.",
        )
        thorough = st.segmented_control(
            "How long",
            [True, False],
            default=True,
            required=True,
            key="thorough",
            format_func={True: "Thorough", False: "Quick"}.__getitem__,
        )
        size = st.selectbox(
            "Longest side of the images",
            [None, *sizes(checks.shape)],
            key="size",
            format_func=lambda side: side_name(checks.shape, side),
            help="Automatic follows the median width and height of the training images, shrunk to "
            "64 pixels. Larger images show finer details, and take time and memory by the square "
            "of their side.",
        )
        fit = "pad"
        if any("of another aspect ratio" in text for _, text in checks.findings):
            fit = st.segmented_control(
                "Images of another aspect ratio",
                ["pad", "crop"],
                default="pad",
                required=True,
                key="fit",
                format_func={"pad": "Pad", "crop": "Crop"}.__getitem__,
                help="Pad keeps the whole image, with black borders. Crop cuts two sides.",
            )
        left = estimated_seconds(dataset, at) * (1 if thorough else 0.5)
        _, height, width = checks.shape
        left *= 1 if size is None else size**2 / (height * width)
        st.caption(
            f"About **{minutes(left)}** on this machine. Your labels are used unchanged: no noise "
            "is added."
        )
        if st.button("Find wrong labels", type="primary", icon=":material/search:", key="find"):
            config = data_checks.suggested_settings(
                load(dataset), mirror=mirror, thorough=bool(thorough)
            ).changed(image_fit=fit, image_size=size)
            name = runs().submit(config, visitor=visitor())
            put(run=name, step="review", epoch=None, sample=None, lasso=None)
            st.rerun()


def sizes(shape: tuple[int, int, int]) -> list[int]:
    """The sides in pixels that can be chosen for images whose common shape is (C, H, W)."""
    return [side for side in SIDES if side != max(shape[1:])]


def side_name(shape: tuple[int, int, int], side: int | None) -> str:
    """A side in words; None is the common size."""
    _, height, width = shape
    if side is None:
        return f"Automatic: {width} \N{MULTIPLICATION SIGN} {height}"
    return f"{side} pixels"


@st.cache_resource(max_entries=8, show_spinner="Checking every image")
def check_data(dataset: str, at: float) -> tuple[data_checks.DataChecks, dict[int, np.ndarray]]:
    """The checks, and row -> image for images whose copies have other labels.

    at: when the data was uploaded; makes the cache forget replaced data.
    """
    data = load(dataset)
    checks = data_checks.check_data(data)
    rows = [rows[0] for rows, _ in checks.conflicts[: data_checks.MAX_SHOWN_CONFLICTS]]
    return checks, {row: data.take([row])[0].permute(1, 2, 0).numpy() for row in rows}


@st.cache_data(max_entries=8, show_spinner="Timing a few steps on this machine")
def estimated_seconds(dataset: str, at: float) -> float:
    """About how long a thorough run takes on this machine."""
    data = load(dataset)
    return data_checks.estimated_seconds(data, data_checks.suggested_settings(data, mirror=False))
