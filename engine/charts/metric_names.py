"""Titles and units of the metrics of experiments, and the order of their values."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from engine.charts.curves import METRICS
from engine.charts.theme import METHODS


@dataclass(frozen=True)
class Quantity:
    """A metric: title, unit, range, and a reference value."""

    words: str
    share: bool = True  # drawn in percent
    bounded: bool = True  # cannot leave [0, 1]
    unit: str = ""
    line: float | None = None  # reference value, a dashed line
    line_words: str = ""


def _auroc(words: str) -> Quantity:
    return Quantity(words, share=False, line=0.5, line_words="guessing")


QUANTITIES = {name: Quantity(words) for name, words in METRICS.items()} | {
    "test_accuracy": Quantity("test accuracy"),
    "memorized": Quantity("wrong labels memorized"),
    "label_accuracy": Quantity("training labels right"),
    "clean_auroc": _auroc("AUROC of P(clean)"),
    "detection_auroc": _auroc("AUROC, wrong found"),
    "same_class_neighbors": Quantity("neighbors of own class"),
    "silhouette": Quantity("silhouette", share=False, bounded=False, line=0.0),
    "linear_probe": Quantity("linear probe right"),
    "dip_p": Quantity(
        "p of the dip test", share=False, line=0.05, line_words="below: not unimodal"
    ),
    "bimodal": Quantity("runs with bimodal losses"),
    "bimodal_share": Quantity("epochs after warm-up with bimodal losses"),
    "bic_gain": Quantity("BIC gain of two", share=False, bounded=False, line=0.0),
    "ashman_d": Quantity(
        "Ashman's D", share=False, bounded=False, line=2.0, line_words="above: apart"
    ),
    "average_precision": Quantity("average precision", share=False),
    "precision_at_wrong": Quantity("precision at the number of wrong labels"),
    "auroc": _auroc("AUROC"),
    "precision": Quantity("precision"),
    "recall": Quantity("recall"),
    "gain": Quantity("test accuracy"),
    "seconds": Quantity("time", share=False, bounded=False, unit="s"),
    "epoch": Quantity("epoch", share=False, bounded=False),
}
COLUMNS = {
    "rate": "noise rate",
    "human_labels": "human labels",
    "k": "K",
    "epoch": "epoch",
}  # prefix of their values
VALUES: dict[str, dict[Any, str]] = {  # column -> its values in order -> in words
    "method": METHODS,
    "rate": {rate: f"{rate:g}" for rate in (0.0, 0.2, 0.4, 0.6, 0.8)},
    "metric": {  # gives a metric its color
        name: QUANTITIES[name].words
        for name in ("test_accuracy", "label_accuracy", "fit_clean", "memorized")
    },
    "labels": {"clean": "label right", "wrong": "label wrong"},
    "layout": {"umap": "UMAP", "pca": "PCA"},
}


def value_words(column: str, value: Any) -> str:
    """A value as a legend or an axis says it: "MixNN", "noise rate 0.4", "K 5"."""
    words = QUANTITIES[value].words if column == "metric" else VALUES.get(column, {}).get(value)
    if words is None:
        words = str(value) if isinstance(value, str) else f"{value:g}"
    return f"{COLUMNS[column]} {words}" if column in COLUMNS else words


def values_of(frame: pd.DataFrame, column: str) -> list:
    """Values of a column: in the order of VALUES, numbers by size, others as they come."""
    values = list(frame[column].unique())
    known = list(VALUES.get(column, {}))
    if all(value in known for value in values):
        return sorted(values, key=known.index)
    return values if any(isinstance(value, str) for value in values) else sorted(values)


def axis_name(column: str) -> str:
    """What an axis of these values is called."""
    return COLUMNS.get(column) or (QUANTITIES[column].words if column in QUANTITIES else column)


def quantity_of(part: pd.DataFrame) -> Quantity:
    """What the first row's number is."""
    return QUANTITIES[part["metric"].iloc[0]] if len(part) else Quantity("")
