"""What a reviewer looks at: the image, the images alike, the list of suspects; and their data."""

import threading
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
from PIL import ImageOps

from app.components import page
from app.components.images import data_url, wall
from app.server import escaping, run_cache
from app.server.decisions import Decision, Reviews
from app.server.run_view import RunView
from app.state.url_state import put
from engine.analysis import label_evidence
from engine.analysis.label_issues import LabelIssues
from engine.caching import once
from engine.charts import theme
from engine.data import Data
from engine.data.images import open_image
from engine.errors import ImageError, StoreError

LISTED = 200  # rows of the list
_decoding = threading.Lock()
DONE = {"keep": "kept", "change": "changed", "skip": "skipped"}
LIKELIHOOD = st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)


def warn(found: LabelIssues) -> None:
    """Above everything else: why no change is proposed."""
    if found.warning:
        st.warning(found.warning, icon=":material/warning:")


def reviews_of(name: str) -> Reviews:
    run = run_cache.run(name)
    return Reviews(run.folder, len(run.labels["given"]), len(run.info["data"]["classes"]))


def images_of(view: RunView) -> Data | None:
    """The images behind a run; None, with a word on the page, where they are gone."""
    try:
        return run_cache.data_of(view.run)
    except StoreError as error:
        st.warning(
            f"{escaping.lines(error)}. Labels can be reviewed by number, and saved as a table."
        )
        return None


def thumbnails(images: Data | None, rows: np.ndarray) -> list[str]:
    """Training images of these rows (n,) as texts for a table; empty texts without images."""
    if images is None:
        return [""] * len(rows)
    return [data_url(pixels) for pixels in images.take(rows).permute(0, 2, 3, 1).numpy()]


def image(
    view: RunView, found: LabelIssues, sample: int, images: Data | None, latest: dict[int, Decision]
) -> None:
    given = view.classes[found.given[sample]]
    quality = found.quality[sample]
    st.markdown(f"**Given label: {escaping.markdown(given)}**", help=page.word("given label"))
    if images is not None:
        pixels, smooth = _original(view, sample)
        if pixels is None:
            pixels = images.take([sample])[0].permute(1, 2, 0).numpy()
        look = "auto" if smooth else "pixelated"
        st.html(
            f'<img src="{data_url(pixels)}" alt="Sample {sample}, given label '
            f'{escaping.html(given)}" style="width:100%;max-width:260px;max-height:280px;'
            f"object-fit:contain;object-position:left top;image-rendering:{look};"
            'border-radius:6px;display:block">'
        )
    called = view.sample_name(sample)
    own = "" if called == str(sample) else f" ({escaping.markdown(called)})"
    words = f"Sample {sample}{own}, label quality {quality:.2f}"
    if not np.isnan(found.p_clean[sample]):
        words += f", P(clean) {found.p_clean[sample]:.2f}"
    st.caption(words, help=f"{page.word('label quality')} {page.word('P(clean)')}")
    if sample in latest:
        decision = latest[sample]
        to = f" to {escaping.markdown(view.classes[decision.label])}"
        st.badge(
            f"{DONE[decision.kind]}{to if decision.kind == 'change' else ''}",
            icon=":material/check:",
            color="green",
        )
    elif sample not in found.flagged:
        st.caption("This sample was picked elsewhere; its label does not look wrong.")


def evidence(view: RunView, found: LabelIssues, sample: int, images: Data | None) -> None:
    """The nearest images and their labels."""
    classes = view.classes
    near, _ = label_evidence.nearest_samples(view.run, view.row, sample)
    st.markdown("**Alike in the network's eyes**", help=page.word("features"))
    if not len(near) or images is None:
        st.caption("The nearest images of this one are not known.")
        return
    labels, best, given = found.given[near], found.suggested[sample], found.given[sample]
    colors = np.select(
        [labels == best, labels == given], [theme.CLEAN, theme.WRONG], default="#8A94A0"
    )
    pixels = images.take(near).permute(0, 2, 3, 1).numpy()
    wall(
        pixels,
        [classes[label] for label in labels],
        size=76,
        marks=colors.tolist(),
        alts=[f"neighbor {i}, given label {classes[c]}" for i, c in zip(near, labels, strict=True)],
    )
    n_best, n_given = int((labels == best).sum()), int((labels == given).sum())
    none = "none" if n_given == 0 else n_given
    label = escaping.markdown(classes[best])
    text = f"{n_best} of these {len(near)} bear the label **{label}** (blue frame)"
    if best != given:
        text += f", {none} the given **{escaping.markdown(classes[given])}** (orange frame)"
    st.markdown(f"{text}. Their own labels may be wrong as well.")


def listed(
    view: RunView,
    found: LabelIssues,
    queue: np.ndarray,
    latest: dict[int, Decision],
    images: Data | None,
) -> None:
    classes, shown = view.classes, queue[:LISTED]
    with st.expander(f"The list: {len(queue):,} labels, the most suspicious first"):
        if not len(shown):
            st.caption("No suspicious label passes the filter.")
            return
        table = pd.DataFrame(
            {
                "image": thumbnails(images, shown),
                "sample": [view.sample_name(int(s)) for s in shown],
                "given": [classes[c] for c in found.given[shown]],
                "suggested": [classes[c] for c in found.suggested[shown]],
                "likelihood": found.confidence()[shown],
                "label quality": found.quality[shown],
                "decision": [DONE[latest[s].kind] if s in latest else "" for s in shown.tolist()],
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
                "likelihood": LIKELIHOOD,
                "label quality": st.column_config.NumberColumn(format="%.2f"),
            },
            alt="The suspicious labels; select a row to look at it",
        )
        if len(queue) > LISTED:
            st.caption(f"The first {LISTED} are listed; the table to take home holds all.")


def _original(view: RunView, sample: int) -> tuple[np.ndarray | None, bool]:
    """The image file behind a sample of a folder, up to 600 pixels; None where there is none."""
    family, _, path = view.run.config.dataset.partition(":")
    if family != "folder":
        return None, False
    home = Path(path).expanduser().resolve()
    file = (home / view.sample_name(sample)).resolve()
    if not file.is_relative_to(home):  # names in a run folder of others may lead anywhere
        return None, False
    found = _shrunk(str(file), run_cache.stamp_of(file))
    return (None, False) if found is None else found


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
