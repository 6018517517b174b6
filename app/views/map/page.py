"""Map: do classes stay together although labels are wrong?"""

from dataclasses import dataclass

import numpy as np
import streamlit as st

from app.components import epoch_slider, figures, live_updates, page, run_picker
from app.components.scatter import Picture, scatter
from app.components.scatter.coloring import COLORINGS, Labels, colored
from app.server import escaping, run_cache
from app.server.run_manager import runs
from app.server.run_view import RunView
from app.state.url_state import bound, get, put
from app.views.map import layouts
from app.views.map import thumbnails as sheets
from app.views.map.details import labels_of, neighbors_of, sample_panel, selection, table
from engine.charts import map3d
from engine.errors import StoreError

POLL = 1.0  # seconds between two looks at the mapper
LAYOUTS = {"umap": "UMAP", "pca": "PCA"}


@dataclass(frozen=True, eq=False)
class Shown:
    """The layout that is there to be shown, and the row it belongs to."""

    kind: str  # a name of LAYOUTS
    row: int
    layout: np.ndarray  # (P, dims)
    box: np.ndarray  # (2, dims)


def controls(truth_known: bool) -> tuple[str, str, int]:
    """Coloring, layout and dimensions as chosen."""
    options = [by for by in COLORINGS if truth_known or by != "true"]
    if get("color") not in options:
        put(color=None)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        st.segmented_control("Color", options, format_func=COLORINGS.get, **bound("color"))
        st.segmented_control(
            "Map", list(LAYOUTS), format_func=LAYOUTS.get, help=page.word("UMAP"), **bound("layout")
        )
        st.segmented_control("Dimensions", [2, 3], format_func=lambda d: f"{d}-D", **bound("dims"))
    return get("color"), get("layout"), get("dims")


def find_layout(name: str, row: int, kind: str, dims: int) -> Shown:
    """The chosen layout; the newest UMAP up to that epoch while others are being laid out, and
    PCA until there is one.
    """
    epochs = [record["epoch"] for record in run_cache.records(name)]
    if kind == "umap":
        done = set(layouts.umap_epochs(name, dims))
        for at in range(row, -1, -1):
            if epochs[at] not in done:
                continue
            layout = layouts.umap(name, epochs[at], dims)
            if layout is not None:
                return Shown("umap", at, layout, layouts.umap_box(name, dims))
    box = layouts.pca_box(name, row, len(epochs), dims)
    return Shown("pca", row, layouts.pca(name, row, dims), box)


def hold_still(name: str, row: int, kind: str) -> int:
    """The row to show in 3-D: a live run does not turn the picture away under the visitor's hand.

    The figure is mounted anew whenever its data change, and with it goes the point of view.
    """
    live = runs().info(name).active and get("epoch") is None
    held = st.session_state.get("map.held")
    if not live or held is None or held[:2] != (name, kind) or held[2] > row:
        held = (name, kind, row)
    if held[2] < row and st.button(
        f"Show epoch {run_cache.records(name)[row]['epoch']}", icon=":material/update:"
    ):
        held = (name, kind, row)
    st.session_state["map.held"] = held
    return held[2]


def follow_mapper(name: str, row: int, dims: int, shown: Shown) -> None:
    """Say how far UMAP is, and draw anew when it has come further."""
    folder = runs().folder(name)
    mapper = layouts.mapper()
    mapper.ask(folder, dims)
    arrived = shown.kind == "umap" and shown.row == row
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
                mapper.ask(folder, dims, again=True)
            return
        instead = "PCA" if shown.kind == "pca" else "the newest one that is ready"
        what = "UMAP gets ready (about 10 seconds)" if state == "warming up" else "UMAP on its way"
        st.progress(min(done / n, 1.0), f"{what}: {done} of {n} epochs. Until then: {instead}.")

    def changed() -> str | None:
        mapper.ask(folder, dims)
        return "app" if len(layouts.umap_epochs(name, dims)) != before else None

    if not arrived:
        live_updates.keep_looking("follow-umap", changed, every=POLL, draw=progress)


def sentence(shown: Shown, labels: Labels) -> str:
    """What the picture says, in numbers."""
    if labels.true is None:
        (given,) = layouts.togetherness(shown.layout, labels.given)
        return (
            f"Of the {layouts.AROUND} points nearest to a point, **{given:.0%}** bear its given "
            "label. The true labels are not known, so nobody can say how many should."
        )
    true, given = layouts.togetherness(shown.layout, labels.true, labels.given)
    return (
        f"Of the {layouts.AROUND} points nearest to a point, **{true:.0%}** belong to its true "
        f"class, but only **{given:.0%}** bear its given label."
        if given < true
        else f"Of the {layouts.AROUND} points nearest to a point, **{true:.0%}** belong to its "
        f"true class, and **{given:.0%}** bear its given label."
    )


def draw(view: RunView, by: str, shown: Shown, labels: Labels, panel: np.ndarray) -> None:
    """The map itself."""
    name, coloring = view.name, colored(labels, by)
    place = {int(sample): i for i, sample in enumerate(panel)}
    sample = place.get(get("sample"), -1)
    ids, weights = neighbors_of(view, get("sample")) if sample >= 0 else ([], [0])
    links = [
        (place[int(i)], float(w)) for i, w in zip(ids, weights[1:], strict=True) if int(i) in place
    ]
    chosen = np.isin(panel, get("lasso"))
    epoch = view.epoch
    kind = LAYOUTS[shown.kind]
    alt = (
        f"{kind} of {len(panel):,} samples of {name} after epoch {epoch}, colored by "
        f"{COLORINGS[by]}, {int(chosen.sum()):,} selected."
    )
    file = f"{name}-{shown.kind}-epoch{epoch}-{by}"
    if shown.layout.shape[1] == 3:
        legend = coloring.legend
        fig = map3d.embedding_map_3d(
            shown.layout,
            panel,
            coloring.color,
            coloring.palette,
            title=legend["title"],
            names=legend.get("names"),
            ends=(legend.get("low", ""), legend.get("high", "")),
            cross=coloring.cross,
            cross_name=legend.get("cross", ""),
            selected=chosen,
            sample=sample,
            links=links,
            box=shown.box,
        )
        figures.show(fig, file, alt=alt, data=lambda: table(view, labels, panel), key="map3d")
        st.caption("Drag to turn, wheel to zoom. Samples are chosen and selected in 2-D.")
        return
    created = view.run.info["created"]
    picture = Picture(
        points=f"{name} {created}",
        view=f"{name} {created} {shown.kind}",
        place=f"{shown.kind} {epoch}",
        ids=panel,
        layout=shown.layout,
        box=shown.box,
        labels=labels,
        coloring=coloring,
        selected=chosen,
        sample=sample,
        links=tuple(links),
        sheets=thumbnails(name, len(panel)),
        note=f"{kind}, epoch {epoch}",
        alt=alt,
        file=file,
    )
    scatter(
        picture,
        key="map",
        pick=lambda i: put(sample=i),
        lasso=lambda ids: put(lasso=tuple(ids.tolist())),
        want=lambda number: sheets.want(name, number),
    )


def thumbnails(name: str, n: int) -> dict | None:
    """The pictures of the points; None, and a word why, where the images are gone."""
    try:
        return sheets.described(name, n)
    except StoreError as error:
        st.caption(f"No pictures: {escaping.lines(error)}")
        return None


page.head(
    "Do classes stay together although labels are wrong?",
    "Each point is an image, and alike images lie close together. Where classes form islands in "
    "spite of wrong labels, neighbors know the right label.",
    "features",
    "UMAP",
    "PCA",
    "given label",
    "true label",
    "corrected label",
    "P(clean)",
    "neighbors",
    "weights",
)
name = run_picker.pick_run()
row = epoch_slider.scrub(name)
kept = run_cache.run(name).labels
panel = kept["panel"]
by, kind, dims = controls("true" in kept)
if dims == 3:
    row = hold_still(name, row, kind)
shown = find_layout(name, row, kind, dims)
if kind == "umap":
    follow_mapper(name, row, dims, shown)
view = RunView(name, shown.row)
labels = labels_of(view, panel)
st.markdown(sentence(shown, labels))
left, right = st.columns([11, 4], gap="medium")
with left:
    draw(view, by, shown, labels, panel)
with right:
    sample_panel(view)
selection(view)
