"""The figures of each experiment's tables.

Charts are imported late: a machine that only trains may lack plotly.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    import plotly.graph_objects as go

Tables = Mapping[str, pd.DataFrame]
Figures = dict[str, "go.Figure"]


def baseline(tables: Tables) -> Figures:
    """Memorization curves, and the AUROC of the loss."""
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
            title="How well the loss of plain cross-entropy separates clean from wrong labels",
        ),
    }


def mixnn_k1(tables: Tables) -> Figures:
    """Curves of mixing alone, and its gain over cross-entropy."""
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
            title="Effect of mixing with one neighbor alone, last epoch",
        ),
    }


def full(tables: Tables) -> Figures:
    """Curves through the preset; heat maps as well if the whole grid was run."""
    from engine.charts.compare import sweep_heatmap
    from engine.charts.experiments import intervals, sensitivity
    from engine.charts.metric_names import QUANTITIES

    cells, metric = tables["cells"], "test_accuracy"
    preset = _preset(tables["against_preset"])
    figures = {
        name: sensitivity(
            cells,
            ["k", "alpha"],
            metric=name,
            preset=preset,
            title=f"{QUANTITIES[name].words.capitalize()} by K and by alpha, last epoch",
        )
        for name in (metric, "memorized")
    }
    figures["against_preset"] = intervals(
        _one_setting_off(tables["against_preset"], preset),
        metric=metric,
        category="variant",
        facet="rate",
        zero="the preset",
        title="Each K and alpha against the preset, last epoch",
    )
    shown = cells[cells["metric"] == metric]
    if (shown[["k", "alpha"]] != pd.Series(preset)).all(axis=1).any():
        for rate in sorted(shown["rate"].unique()):
            figures[f"grid-{rate:g}"] = sweep_heatmap(shown, QUANTITIES[metric].words, rate=rate)
    return figures


def ablation(tables: Tables) -> Figures:
    """Effects of parts and of quirks."""
    from engine.charts.experiments import intervals

    words = {  # kind -> the reference at 0, title
        "part": ("MixNN", "MixNN with a part removed or replaced, last epoch"),
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
    """Gain and test accuracy by kind of noise."""
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
            title="Gain of MixNN under each kind of noise, last epoch",
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
    """Test accuracy by method, and differences from MixNN."""
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
    """Separation of the true classes over the epochs, and maps."""
    from engine.charts.experiments import embedding_maps, mean_curves

    figures = {
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
    maps = tables.get("points", pd.DataFrame())  # too long to be stored
    for layout, words in (("umap", "UMAP"), ("pca", "PCA")):
        if len(maps) and (maps["layout"] == layout).any():
            figures[layout] = embedding_maps(
                maps[maps["layout"] == layout], title=f"{words} of the features, first seed"
            )
    return figures


def mixture(tables: Tables) -> Figures:
    """Bimodality over the epochs, and its relation to the gain."""
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
            title="Are the losses bimodal?",
        ),
        "runs": run_scatter(
            ours,
            x="bimodal_share",
            y="gain",
            color="rate",
            zero="cross-entropy",
            title="Bimodality of the losses and gain of MixNN",
        ),
    }


def detection(tables: Tables) -> Figures:
    """Precision-recall curves, their areas, and the time that each score takes."""
    from engine.charts.experiments import intervals, mean_curves

    labels = "human_labels" if "human_labels" in tables["curves"] else "rate"
    return {
        "precision_recall": mean_curves(
            tables["curves"],
            x="recall",
            color="finder",
            facet=labels,
            height=300,
            title="Detection of wrong labels: precision at each recall",
        ),
        "scores": intervals(
            tables["scores"],
            metric="average_precision",
            category="finder",
            facet=labels,
            sort=True,
            shared=False,
            title="Area under the precision-recall curve (scales differ)",
        ),
        "cost": intervals(
            tables["scores"],
            metric="seconds",
            category="finder",
            facet=labels,
            title="Time for detection on this machine, including training",
        ),
    }


FIGURES: dict[str, Callable[[Tables], Figures]] = {  # by name of the experiment
    "baseline": baseline, "mixnn-k1": mixnn_k1, "full": full, "ablation": ablation,
    "noise-kinds": noise_kinds, "methods": methods, "representation": representation,
    "mixture": mixture, "detection": detection,
}  # fmt: skip


def _preset(against: pd.DataFrame) -> dict[str, float]:
    """The K and alpha whose runs equal those of the preset."""

    off = against.assign(off=against["mean"].abs()).groupby(["k", "alpha"])["off"].max()
    k, alpha = off.index.to_frame().to_numpy()[off.to_numpy().argmin()]
    return {"k": float(k), "alpha": float(alpha)}


def _one_setting_off(against: pd.DataFrame, preset: dict[str, float]) -> pd.DataFrame:
    """Rows in which only K or only alpha differs from the preset; a column says which."""
    parts = []
    for name, other, words in (("k", "alpha", "K"), ("alpha", "k", "alpha")):
        rows = against[(against[name] != preset[name]) & (against[other] == preset[other])]
        rows = rows.sort_values(name)
        parts.append(rows.assign(variant=[f"{words} {value:g}" for value in rows[name]]))
    return pd.concat(parts, ignore_index=True)
