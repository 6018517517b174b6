"""Map: do classes stay together in feature space?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from app.components import epoch_slider, figures, live_updates, page, run_picker
from app.components.scatter import Picture, scatter
from app.components.scatter.coloring import COLORINGS, Coloring, Labels, colored
from app.server import escaping, maps, run_cache
from app.server.run_view import RunView
from app.server.visible_runs import runs
from app.state.url_state import bound, get, put
from app.views.map import layouts, thumbnails
from app.views.map.details import labels_of, neighbors_of, sample_panel, selection, table
from engine.charts import map3d
from engine.errors import StoreError

POLL_SECONDS = 1.0  # between two checks of the UMAP process
LAYOUTS = {"umap": "UMAP", "pca": "PCA"}
FROZEN = "map.frozen"  # of the session: (run, layout, row) of the 3-D figure


@dataclass(frozen=True, eq=False)
class Shown:
    """The layout that is shown, and the row it belongs to."""

    kind: str  # a name of LAYOUTS
    row: int
    layout: np.ndarray  # (P, dims)
    box: np.ndarray  # (2, dims), minimum and maximum over epochs


@dataclass(frozen=True, eq=False)
class Marks:
    """What is marked on the map: the selected sample, its neighbors, and the lasso."""

    selected: np.ndarray  # (P,) bool, the lasso
    sample: int  # position of the selected sample among the points, -1: none
    links: Sequence[tuple[int, float]]  # positions of its neighbors and their weights


def controls(truth_known: bool) -> tuple[str, str, int]:
    """Draw the controls; returns the selected coloring, layout and number of dimensions."""
    options = [by for by in COLORINGS if truth_known or by != "true"]
    if get("color") not in options:
        put(color=None)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        st.segmented_control("Color", options, format_func=COLORINGS.__getitem__, **bound("color"))
        st.segmented_control(
            "Map",
            list(LAYOUTS),
            format_func=LAYOUTS.__getitem__,
            help=page.word("UMAP"),
            **bound("layout"),
        )
        st.segmented_control("Dimensions", [2, 3], format_func=lambda d: f"{d}-D", **bound("dims"))
    return get("color"), get("layout"), get("dims")


def find_layout(name: str, row: int, kind: str, dims: int) -> Shown:
    """The selected layout; until its UMAP is ready the newest one before it, or else PCA."""
    epochs = [record["epoch"] for record in run_cache.records(name)]
    if kind == "umap":
        ready = set(layouts.umap_epochs(name, dims))
        for earlier in range(row, -1, -1):
            if epochs[earlier] not in ready:
                continue
            layout = layouts.umap(name, epochs[earlier], dims)
            if layout is not None:
                return Shown("umap", earlier, layout, layouts.umap_box(name, dims))
    box = layouts.pca_box(name, row, len(epochs), dims)
    return Shown("pca", row, layouts.pca(name, row, dims), box)


def hold_still(name: str, row: int, kind: str) -> int:
    """The row to show in 3-D: a live run advances only on request.

    The figure is mounted again whenever its data change, which resets the point of view.
    """
    live = runs().info(name).active and get("epoch") is None
    frozen = st.session_state.get(FROZEN)
    if not live or frozen is None or frozen[:2] != (name, kind) or frozen[2] > row:
        frozen = (name, kind, row)
    if frozen[2] < row and st.button(
        f"Show epoch {run_cache.records(name)[row]['epoch']}", icon=":material/update:"
    ):
        frozen = (name, kind, row)
    st.session_state[FROZEN] = frozen
    return frozen[2]


def follow_mapper(name: str, row: int, dims: int, shown: Shown) -> None:
    """Show the progress of UMAP, and rerun the page when another epoch is ready."""
    folder = runs().folder(name)
    mapper = maps.mapper()
    mapper.request(folder, dims)
    before = len(layouts.umap_epochs(name, dims))

    @page.guarded
    def progress() -> None:
        state, message = mapper.state(folder, dims)
        done, n = len(layouts.umap_epochs(name, dims)), len(run_cache.records(name))
        if state == "failed":
            st.warning(
                f"UMAP failed, so this is PCA: {escaping.lines(message)}", icon=":material/warning:"
            )
            if st.button("Try UMAP again", icon=":material/refresh:", key="umap-again"):
                mapper.request(folder, dims, again=True)
            return
        instead = "PCA" if shown.kind == "pca" else "the newest that is ready"
        ready = "starts in about 10 s" if state == "warming up" else f"{min(done, n)} of {n} epochs"
        st.caption(f"UMAP: {ready}. Shown so far: {instead}.", width="content")

    def changed() -> str | None:
        mapper.request(folder, dims)
        return "app" if len(layouts.umap_epochs(name, dims)) != before else None

    if shown.kind != "umap" or shown.row != row:
        live_updates.poll("follow-umap", changed, every=POLL_SECONDS, draw=progress)


def sentence(shown: Shown, labels: Labels) -> str:
    """How many of the nearest points on the map have the same label, in Markdown."""
    start = f"Of the {layouts.NEAREST} points nearest to a point on the map, "
    if labels.true is None:
        (given,) = layouts.label_agreement(shown.layout, labels.given)
        return start + f"**{given:.0%}** have its given label. The true labels are not known."
    true, given = layouts.label_agreement(shown.layout, labels.true, labels.given)
    joined = ", but only" if given < true else ", and"
    return start + (
        f"**{true:.0%}** belong to its true class{joined} **{given:.0%}** have its given label."
    )


def draw(view: RunView, by: str, shown: Shown, labels: Labels, panel: np.ndarray) -> None:
    """The map itself, with an alternative text and a file name."""
    marks, coloring = marks_of(view, panel), colored(labels, by)
    file = f"{view.name}-{shown.kind}-epoch{view.epoch}-{by}"
    alt = (
        f"{LAYOUTS[shown.kind]} of {len(panel):,} samples of {view.name} after epoch {view.epoch}, "
        f"colored by {COLORINGS[by]}, {int(marks.selected.sum()):,} selected."
    )
    if shown.layout.shape[1] == 3:
        fig = figure_3d(shown, panel, coloring, marks)
        figures.show(fig, file, alt=alt, data=lambda: table(view, labels, panel), key="map3d")
        st.caption("Drag to rotate, scroll to zoom. Samples are selected in 2-D.")
        return
    created = view.run.info["created"]
    picture = Picture(
        points=f"{view.name} {created}",
        view=f"{view.name} {created} {shown.kind}",
        layout_name=f"{shown.kind} {view.epoch}",
        ids=panel,
        layout=shown.layout,
        box=shown.box,
        labels=labels,
        coloring=coloring,
        selected=marks.selected,
        sample=marks.sample,
        links=tuple(marks.links),
        thumbnails=sprite_sheets(view.name, len(panel)),
        note=f"{LAYOUTS[shown.kind]}, epoch {view.epoch}",
        alt=alt,
        file=file,
    )
    scatter(
        picture,
        key="map",
        pick=lambda i: put(sample=i),
        lasso=lambda ids: put(lasso=tuple(ids.tolist())),
        request_thumbnails=lambda number: thumbnails.request(view.name, number),
    )


def marks_of(view: RunView, panel: np.ndarray) -> Marks:
    """The selected sample, its neighbors and the lasso, as far as they are on the map."""
    places = {int(sample): place for place, sample in enumerate(panel)}
    sample, links = places.get(get("sample"), -1), []
    if sample >= 0:
        ids, weights = neighbors_of(view, get("sample"))
        weighted = zip(ids.tolist(), weights[1:].tolist(), strict=True)
        links = [(places[i], weight) for i, weight in weighted if i in places]
    return Marks(np.isin(panel, get("lasso")), sample, links)


def figure_3d(shown: Shown, panel: np.ndarray, coloring: Coloring, marks: Marks):
    """A Plotly figure of the same points, for a layout with three dimensions."""
    legend = coloring.legend
    return map3d.embedding_map_3d(
        shown.layout,
        panel,
        coloring.color,
        coloring.palette,
        title=legend["title"],
        names=legend.get("names"),
        ends=(legend.get("low", ""), legend.get("high", "")),
        cross=coloring.cross,
        cross_name=legend.get("cross", ""),
        selected=marks.selected,
        sample=marks.sample,
        links=marks.links,
        box=shown.box,
    )


def sprite_sheets(name: str, n: int) -> dict | None:
    """The thumbnails of n points; None, and a caption that says why, if the images are missing."""
    try:
        return thumbnails.described(name, n)
    except StoreError as error:
        st.caption(f"No images: {escaping.lines(error)}")
        return None


page.head(
    "Do classes stay together in feature space?",
    "Each point is an image; images with similar features are close together. Where classes form "
    "clusters in spite of wrong labels, most neighbors of a sample have its true label.",
    "features",
    "UMAP",
    "PCA",
    "given label",
    "true label",
    "corrected label",
    "label outcome",
    "P(clean)",
    "neighbors",
    "weights",
)
name = run_picker.pick_run()
row = epoch_slider.scrub(name)
if missing := run_cache.run(name).not_logged("panel_features"):
    st.info(f"There is no map. {escaping.lines(missing)}", icon=":material/info:")
    if get("sample") is not None:
        sample_panel(RunView(name, row))
    st.stop()
kept = run_cache.run(name).labels
panel = kept["panel"]
by, kind, dims = controls("true" in kept)
if dims == 3:
    row = hold_still(name, row, kind)
shown = find_layout(name, row, kind, dims)
view = RunView(name, shown.row)
labels = labels_of(view, panel)
# one row, so that nothing moves when UMAP is ready
with st.container(horizontal=True, vertical_alignment="top"):
    st.markdown(sentence(shown, labels), width="content")
    if kind == "umap":
        follow_mapper(name, row, dims, shown)
left, right = st.columns([11, 4], gap="medium")
with left:
    draw(view, by, shown, labels, panel)
with right:
    sample_panel(view)
selection(view)
