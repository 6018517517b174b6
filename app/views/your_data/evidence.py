"""The evidence on a label: its image, the most similar images, the list of suspicious labels."""

import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
from PIL import ImageOps

from app.components.glossary import word
from app.components.images import data_url, wall
from app.server import escaping, run_cache
from app.server.decisions import Decision
from app.server.run_view import RunView
from app.state.url_state import put
from engine.analysis import label_evidence
from engine.analysis.label_issues import CHANGE, REVIEW, LabelIssues
from engine.caching import once
from engine.charts import theme
from engine.data import Data
from engine.data.images import open_image
from engine.errors import ImageError, StoreError

MAX_LISTED = 200  # rows of the list
_decoding = threading.Lock()
DECISIONS = {"keep": "kept", "change": "changed", "skip": "skipped", "remove": "removed"}
PROBABILITY = st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)


def estimate(issues: LabelIssues) -> None:
    """How many labels are wrong, and why no change is proposed, if that is so."""
    if issues.warning:
        st.warning(f"{issues.estimate()} {issues.warning}", icon=":material/warning:")
    else:
        counts = Counter(issues.decisions().tolist())
        st.caption(
            f"{issues.estimate()} A change is proposed for {counts[CHANGE]:,} labels; "
            f"{counts[REVIEW]:,} more should be reviewed."
        )


def images_of(view: RunView) -> Data | None:
    """The images of a run; None, and a warning on the page, if they are missing."""
    try:
        return run_cache.data_of(view.run)
    except StoreError as error:
        st.warning(
            f"{escaping.lines(error)}. Labels can be reviewed by number, and saved as a table."
        )
        return None


def thumbnails(images: Data | None, rows: np.ndarray) -> list[str]:
    """Training images of rows (n,) as data URLs for a table; empty texts without images."""
    if images is None:
        return [""] * len(rows)
    return [data_url(pixels) for pixels in images.pictures(rows)]


def image(
    view: RunView,
    issues: LabelIssues,
    sample: int,
    images: Data | None,
    decisions: dict[int, Decision],
) -> None:
    """The image, its given label, label quality and P(clean), and the decision on it."""
    given = view.classes[issues.given[sample]]
    quality = issues.quality[sample]
    st.markdown(f"**Given label: {escaping.markdown(given)}**", help=word("given label"))
    if images is not None:
        pixels, smooth = _original(view, sample)
        if pixels is None:
            pixels = images.pictures([sample])[0]
        kind = "" if smooth else ' class="pixels"'
        st.html(
            f'<img{kind} src="{data_url(pixels)}" alt="Sample {sample}, given label '
            f'{escaping.html(given)}" style="width:100%;max-width:260px;max-height:280px;'
            'object-fit:contain;object-position:left top;border-radius:6px;display:block">'
        )
    name = view.sample_name(sample)
    own = "" if name == str(sample) else f" ({escaping.markdown(name)})"
    words = f"Sample {sample}{own}, label quality {quality:.2f}"
    if not np.isnan(issues.p_clean[sample]):
        words += f", P(clean) {issues.p_clean[sample]:.2f}"
    st.caption(words, help=f"{word('label quality')} {word('P(clean)')}")
    if sample in decisions:
        decision = decisions[sample]
        to = f" to {escaping.markdown(view.classes[decision.label])}"
        st.badge(
            f"{DECISIONS[decision.kind]}{to if decision.kind == 'change' else ''}",
            icon=":material/check:",
            color="green",
        )
    elif sample not in issues.flagged:
        st.caption("This sample was selected on another page; its label does not look wrong.")
    elif issues.proposed[sample] != issues.given[sample]:
        to = escaping.markdown(view.classes[issues.proposed[sample]])
        st.badge(
            f"proposed: {to} ({100 * issues.probability[sample]:.0f} %)", icon=":material/edit:"
        )
    if reason := issues.reason(sample, view.classes):
        st.markdown(escaping.markdown(reason))


def neighbors(view: RunView, issues: LabelIssues, sample: int, images: Data | None) -> None:
    """The nearest images and their labels."""
    classes = view.classes
    nearest, _ = label_evidence.nearest_samples(view.run, view.row, sample)
    st.markdown("**Most similar images**", help=word("features"))
    if not len(nearest) or images is None:
        st.caption("The most similar images of this one are not known.")
        return
    labels, best, given = issues.given[nearest], issues.suggested[sample], issues.given[sample]
    colors = np.select(
        [labels == best, labels == given], [theme.CLEAN, theme.WRONG], default="#8A94A0"
    )
    pixels = images.pictures(nearest)
    wall(
        pixels,
        [classes[label] for label in labels],
        size=76,
        marks=colors.tolist(),
        alts=[
            f"neighbor {i}, given label {classes[c]}" for i, c in zip(nearest, labels, strict=True)
        ],
    )
    n_best, n_given = int((labels == best).sum()), int((labels == given).sum())
    none = "none" if n_given == 0 else n_given
    label = escaping.markdown(classes[best])
    text = f"{n_best} of these {len(nearest)} have the label **{label}** (blue frame)"
    if best != given:
        text += f", {none} the given **{escaping.markdown(classes[given])}** (orange frame)"
    st.markdown(f"{text}. Their own labels may be wrong as well.")


def listing(
    view: RunView,
    issues: LabelIssues,
    queue: np.ndarray,
    decisions: dict[int, Decision],
    images: Data | None,
) -> None:
    """The list of suspicious labels; a selected row opens its sample. queue: samples (n,)."""
    classes, shown = view.classes, queue[:MAX_LISTED]
    with st.expander(f"The list: {len(queue):,} labels, the most suspicious first"):
        if not len(shown):
            st.caption("No suspicious label passes the filter.")
            return
        table = pd.DataFrame(
            {
                "image": thumbnails(images, shown),
                "sample": [view.sample_name(int(s)) for s in shown],
                "given": [classes[c] for c in issues.given[shown]],
                "suggested": [classes[c] for c in issues.suggested[shown]],
                "probability": issues.probability[shown],
                "proposed": issues.decisions()[shown],
                "label quality": issues.quality[shown],
                "decision": [
                    DECISIONS[decisions[s].kind] if s in decisions else "" for s in shown.tolist()
                ],
            }
        )

        def go() -> None:
            rows = st.session_state["desk-list"]["selection"]["rows"]
            if rows:
                put(sample=int(shown[rows[0]]))

        st.dataframe(
            table,
            hide_index=True,
            key="desk-list",
            on_select=go,
            selection_mode="single-row",
            height=320,
            column_config={
                "image": st.column_config.ImageColumn(width="small"),
                "probability": PROBABILITY,
                "label quality": st.column_config.NumberColumn(format="%.2f"),
            },
            alt="The suspicious labels; select a row to open it",
        )
        if len(queue) > MAX_LISTED:
            st.caption(f"The first {MAX_LISTED} are listed; the table on step 4 has all.")


def _original(view: RunView, sample: int) -> tuple[np.ndarray | None, bool]:
    """The file of a sample of class folders, up to 600 pixels, and whether it is large; or None."""
    family, _, path = view.run.config.dataset.partition(":")
    if family != "folder":
        return None, False
    base = Path(path).expanduser().resolve()
    file = (base / view.sample_name(sample)).resolve()
    if not file.is_relative_to(base):  # names in a run folder of others may lead anywhere
        return None, False
    shrunk = _shrunk(str(file), run_cache.stamp_of(file))
    return (None, False) if shrunk is None else shrunk


@once(maxsize=64)
def _shrunk(path: str, stamp: tuple[int, int]) -> tuple[np.ndarray, bool] | None:
    """An image file up to 600 pixels, and whether it is large; one at a time, they take memory."""
    try:
        with _decoding, open_image(path) as image:
            image.draft("RGB", (600, 600))
            upright = ImageOps.exif_transpose(image).convert("RGB")
            upright.thumbnail((600, 600))
            return np.asarray(upright), max(upright.size) > 64
    except ImageError:  # the loaded pixels will do
        return None
