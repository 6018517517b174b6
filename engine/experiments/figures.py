"""The pictures of each experiment's tables, and their way onto the disk.

The one file of the engine that knows charts; it imports them late, since a machine that only trains
may lack plotly.
"""

import asyncio
import io
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    import plotly.graph_objects as go

Tables = Mapping[str, pd.DataFrame]
Figures = dict[str, "go.Figure"]

WIDTH, SCALE = 1000, 1.5  # of a PNG
N_COLORS = 255  # of a PNG: a third of the bytes, and no eye sees it
MOST_BYTES = 150_000  # a larger PNG is shrunk
PATIENCE = 90.0  # seconds that a browser may take for one picture


def baseline(tables: Tables) -> Figures:
    from engine.charts.experiments import mean_curves

    return {
        "curves": mean_curves(
            tables["curves"],
            metrics=["test_accuracy", "fit_clean", "memorized"],
            color="metric",
            facet="rate",
            title="Plain cross-entropy, epoch by epoch",
        ),
        "auroc": mean_curves(
            tables["curves"],
            metrics=["clean_auroc"],
            color="rate",
            height=300,
            title="How well the loss of plain cross-entropy tells right from wrong labels",
        ),
    }


def mixnn_k1(tables: Tables) -> Figures:
    from engine.charts.experiments import intervals, mean_curves

    return {
        "curves": mean_curves(
            tables["curves"],
            metrics=["test_accuracy", "memorized"],
            color="method",
            facet="rate",
            row="metric",
            height=210,
            title="Mixing with one neighbor, no correction",
        ),
        "gain": intervals(
            tables["gain"],
            metric="test_accuracy",
            category="rate",
            zero="cross-entropy",
            title="What mixing with one neighbor brings by itself, after the last epoch",
        ),
    }


def full(tables: Tables) -> Figures:
    """Lines through the preset; heat maps as well where the whole grid was run."""
    from engine.charts.compare import sweep_heatmap
    from engine.charts.experiments import intervals, sensitivity
    from engine.charts.metric_names import QUANTITIES

    cells, metric = tables["cells"], "test_accuracy"
    preset = _preset(tables["against_preset"])
    drawn = {
        name: sensitivity(
            cells,
            ["k", "alpha"],
            metric=name,
            preset=preset,
            title=f"{QUANTITIES[name].words.capitalize()} by K and by alpha, last epoch",
        )
        for name in (metric, "memorized")
    }
    drawn["against_preset"] = intervals(
        _one_knob_off(tables["against_preset"], preset),
        metric=metric,
        category="variant",
        facet="rate",
        zero="the preset",
        title="Each K and alpha against the preset, last epoch",
    )
    shown = cells[cells["metric"] == metric]
    if (shown[["k", "alpha"]] != pd.Series(preset)).all(axis=1).any():
        for rate in sorted(shown["rate"].unique()):
            drawn[f"grid-{rate:g}"] = sweep_heatmap(shown, QUANTITIES[metric].words, rate=rate)
    return drawn


def ablation(tables: Tables) -> Figures:
    from engine.charts.experiments import intervals

    words = {  # kind -> what stands at 0, title
        "part": ("MixNN", "MixNN with a part left out or replaced, last epoch"),
        "quirk": ("the same without it", "Each quirk of the reference code, last epoch"),
    }
    against = tables["against"]
    return {
        f"{kind}s": intervals(
            against[against["kind"] == kind],
            metric="test_accuracy",
            category="variant",
            facet="rate",
            zero=zero,
            sort=True,
            title=title,
        )
        for kind, (zero, title) in words.items()
        if (against["kind"] == kind).any()
    }


def noise_kinds(tables: Tables) -> Figures:
    from engine.charts.experiments import intervals

    actual = tables["actual"].set_index("noise")["mean"]
    final, gain = (
        table.assign(noise=[f"{kind}, {100 * actual[kind]:.0f} % wrong" for kind in table["noise"]])
        for table in (tables["final"], tables["gain"])
    )
    order = gain[gain["metric"] == "test_accuracy"].groupby("noise")["mean"].mean()
    final = final.sort_values("noise", key=lambda noise: -noise.map(order))
    return {
        "gain": intervals(
            gain,
            metric="test_accuracy",
            category="noise",
            color="method",
            zero="cross-entropy",
            sort=True,
            title="What MixNN brings against each kind of noise, last epoch",
        ),
        "final": intervals(
            final,
            metric="test_accuracy",
            category="noise",
            color="method",
            title="Test accuracy under each kind of noise, last epoch",
        ),
    }


def methods(tables: Tables) -> Figures:
    from engine.charts.experiments import intervals

    return {
        "final": intervals(
            tables["final"],
            metric="test_accuracy",
            category="method",
            facet="rate",
            sort=True,
            shared=False,
            title="Test accuracy after the last epoch (scales differ by rate)",
        ),
        "against_mixnn": intervals(
            tables["against_mixnn"],
            metric="test_accuracy",
            category="method",
            facet="rate",
            zero="MixNN",
            sort=True,
            title="Each method against MixNN, last epoch",
        ),
    }


def representation(tables: Tables) -> Figures:
    from engine.charts.experiments import embedding_maps, mean_curves

    drawn = {
        "curves": mean_curves(
            tables["curves"],
            metrics=["same_class_neighbors", "linear_probe", "silhouette"],
            color="method",
            dash="labels",
            facet="rate",
            row="metric",
            height=190,
            title="Do samples stay with their true class in feature space?",
        )
    }
    maps = tables["points"]
    for layout, words in (("umap", "UMAP"), ("pca", "PCA")):
        if len(maps) and (maps["layout"] == layout).any():
            drawn[layout] = embedding_maps(
                maps[maps["layout"] == layout], title=f"{words} of the features, first seed"
            )
    return drawn


def mixture(tables: Tables) -> Figures:
    from engine.charts.experiments import mean_curves, run_scatter

    ours = tables["runs"][tables["runs"]["method"] == "mixnn"]
    return {
        "curves": mean_curves(
            tables["curves"],
            metrics=["dip_p", "ashman_d", "bic_gain", "clean_auroc"],
            color="method",
            facet="rate",
            row="metric",
            height=150,
            title="Do the losses show two humps?",
        ),
        "runs": run_scatter(
            ours,
            x="bimodal_share",
            y="gain",
            color="rate",
            zero="cross-entropy",
            title="Two humps, and what MixNN brings",
        ),
    }


def detection(tables: Tables) -> Figures:
    from engine.charts.experiments import intervals, mean_curves

    return {
        "precision_recall": mean_curves(
            tables["curves"],
            x="recall",
            color="finder",
            facet="rate",
            height=300,
            title="Wrong labels found: how many of the accused are wrong, at each share found",
        ),
        "scores": intervals(
            tables["scores"],
            metric="average_precision",
            category="finder",
            facet="rate",
            sort=True,
            shared=False,
            title="Area under the precision-recall curve (scales differ by rate)",
        ),
        "cost": intervals(
            tables["scores"],
            metric="seconds",
            category="finder",
            facet="rate",
            title="What finding takes on this machine, training included",
        ),
    }


FIGURES: dict[str, Callable[[Tables], Figures]] = {  # by name of the experiment
    "baseline": baseline, "mixnn-k1": mixnn_k1, "full": full, "ablation": ablation,
    "noise-kinds": noise_kinds, "methods": methods, "representation": representation,
    "mixture": mixture, "detection": detection,
}  # fmt: skip


def save(figures: Figures, folder: Path, stem: str) -> tuple[list[Path], str]:
    """Write each figure as folder/stem-name.png; without a browser that paints, as HTML.

    Returns the files, and why they are no PNG ("" if they are). The HTML files share one copy of
    plotly's script, which lies beside them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        pictures = _paint(figures.values())
    except Exception as error:  # no kaleido, no browser, one that hangs: the numbers still count
        paths = [folder / f"{stem}-{name}.html" for name in figures]
        for path, figure in zip(paths, figures.values(), strict=True):
            figure.write_html(path, include_plotlyjs="directory")
        why = str(error).strip().splitlines() or [type(error).__name__]
        return paths, f"HTML and no PNG, for want of kaleido with a Chrome or Chromium: {why[0]}"
    paths = [folder / f"{stem}-{name}.png" for name in figures]
    for path, picture in zip(paths, pictures, strict=True):
        path.write_bytes(picture)
    return paths, ""


def _paint(figures: Iterable["go.Figure"]) -> list[bytes]:
    """PNGs on white, all by one browser. Raises what keeps it from starting or answering."""
    with ThreadPoolExecutor(1) as pool:  # a thread of its own: a notebook has a loop running
        return pool.submit(lambda: asyncio.run(_painted(list(figures)))).result()


async def _painted(figures: list["go.Figure"]) -> list[bytes]:
    from kaleido import Kaleido

    found = []
    # mathjax=False: it would come from the network
    async with Kaleido(n=1, mathjax=False, timeout=PATIENCE) as browser:
        for figure in figures:
            told: dict[str, Any] = figure.to_dict()
            told["layout"] = told["layout"] | dict(paper_bgcolor="white", plot_bgcolor="white")
            height = told["layout"].get("height", 450)
            opts = dict(format="png", width=WIDTH, height=height, scale=SCALE)
            found.append(_smaller(await browser.calc_fig(told, opts=opts)))
    return found


def _smaller(png: bytes) -> bytes:
    from PIL import Image

    from engine.data.images import open_image

    with open_image(io.BytesIO(png)) as image:
        picture = image.convert("RGB")
    for scale in (1, 1.2, 1.5):
        file = io.BytesIO()
        size = (round(picture.width / scale), round(picture.height / scale))
        few = picture.resize(size, Image.Resampling.LANCZOS).quantize(N_COLORS, dither=0)
        few.save(file, "PNG", optimize=True)
        if file.tell() <= MOST_BYTES:
            break
    return file.getvalue()


def _preset(against: pd.DataFrame) -> dict[str, float]:
    """The K and alpha that differ from the preset by nothing, in any run."""
    off = against.assign(off=against["mean"].abs()).groupby(["k", "alpha"])["off"].max()
    return dict(zip(("k", "alpha"), off.idxmin(), strict=True))


def _one_knob_off(against: pd.DataFrame, preset: dict[str, float]) -> pd.DataFrame:
    """Rows in which K alone, or alpha alone, is not the preset's; a column says which."""
    parts = []
    for name, other, words in (("k", "alpha", "K"), ("alpha", "k", "alpha")):
        rows = against[(against[name] != preset[name]) & (against[other] == preset[other])]
        rows = rows.sort_values(name)
        parts.append(rows.assign(variant=[f"{words} {value:g}" for value in rows[name]]))
    return pd.concat(parts, ignore_index=True)
