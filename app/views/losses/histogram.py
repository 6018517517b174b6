"""The losses of one epoch: of all labels with the Gaussian mixture, and class by class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from app.components import figures
from app.server import run_cache
from app.state.url_state import get
from engine.analysis import loss_analysis
from engine.charts import losses as charts
from engine.runs.folder import RunFolder

PLACES = np.linspace(0, 1, charts.CURVE_POINTS)
TITLES = {"scaled": "scaled loss (0: least, 1: largest of the epoch)", "plain": "loss"}


@dataclass(frozen=True, eq=False)
class Curves:
    """The fitted mixture over the loss: both are None where it has no meaning on this axis."""

    x: np.ndarray  # (X,) losses
    components: np.ndarray | None  # (2, X) densities, clean first
    posterior: np.ndarray | None  # (X,) P(clean)


def histogram(
    run: RunFolder,
    name: str,
    row: int,
    part: np.ndarray,
    wrong: np.ndarray | None,
    on_select: Callable[[], None],
) -> None:
    """A histogram of the losses of an epoch with the Gaussian components and P(clean).

    part: (N,) bool, the samples that are counted. wrong: (N,) bool, None if not known. on_select:
    called after a click on the curve of P(clean).
    """
    kind, records = get("loss"), run_cache.records(name)
    values = losses_of(run, row, kind)
    ranges = fixed_axes(str(run.folder), run.info["created"], len(records), kind, get("class"))
    groups = {"all": part} if wrong is None else {"right": part & ~wrong, "wrong": part & wrong}
    bars = {
        group: loss_analysis.bin_counts(values[mask], ranges.top) for group, mask in groups.items()
    }
    curves = mixture_curves(run, records[row]["mixture"], values, kind)
    components, posterior = curves.components, curves.posterior
    if components is not None:
        components = components * part.sum() * ranges.top / loss_analysis.N_BINS
        if get("class") is not None:
            st.caption("The components were fitted to all classes, here scaled to this class.")
    threshold = get("threshold")
    flagged = (
        [] if posterior is None else loss_analysis.true_intervals(curves.x, posterior < threshold)
    )
    fig = charts.loss_histogram(
        bars,
        ranges.top,
        height=get("bars"),
        tallest=ranges.cut if get("bars") == "cut" else ranges.full,
        title=TITLES[kind],
        x=curves.x,
        components=components,
        posterior=posterior,
        threshold=threshold,
        flagged=flagged,
    )
    n_wrong = "" if wrong is None else f", {int((part & wrong).sum()):,} of them wrong"
    figures.show(
        fig,
        "losses",
        of=f"{name}-epoch{records[row]['epoch']}",
        on_select=on_select,
        selection_mode="points",
        alt=f"Histogram of the losses of {int(part.sum()):,} labels{n_wrong}, with the two fitted "
        "Gaussian components, and below it P(clean) over the loss with the threshold at "
        f"{threshold:.2f}",
    )
    if n := int((~np.isfinite(values[part])).sum()):
        st.caption(f"{n:,} losses are not finite and not drawn; these labels count as wrong.")


def mixture_curves(run: RunFolder, mixture: dict, values: np.ndarray, kind: str) -> Curves:
    """The mixture of an epoch over its scaled losses, or over the plain ones (N,) in `values`."""
    components = loss_analysis.component_densities(mixture, PLACES)
    posterior = loss_analysis.clean_posterior(mixture, PLACES)
    if kind == "scaled":
        return Curves(PLACES, components, posterior)
    # the same places on the plain loss, if the scale is that of this epoch alone
    finite = values[np.isfinite(values)]
    low, width = finite.min(initial=np.inf), np.ptp(finite) if len(finite) else 0.0
    if run.config.loss_history > 1 or width <= 0:
        st.caption(
            "The mixture is fitted to losses averaged over several epochs: its components are "
            "shown with the scaled loss."
        )
        return Curves(PLACES, None, None)
    x = low + PLACES * width
    return Curves(x, None if components is None else components / width, posterior)


def losses_of(run: RunFolder, row: int, kind: str) -> np.ndarray:
    """(N,) float32 losses of an epoch; kind: scaled | plain."""
    return np.array(run.array("scaled_loss" if kind == "scaled" else "loss")[row])


def class_of(run: RunFolder) -> np.ndarray:
    """(N,) the true class of each sample, the given one if the true ones are not known."""
    return run.labels.get("true", run.labels["given"])


@st.cache_data(max_entries=64, show_spinner=False)
def fixed_axes(folder: str, created: str, n_rows: int, kind: str, of_class: int | None):
    """Ranges of the histogram that hold for all epochs so far, of one class or of all."""
    run = RunFolder(folder)
    array = run.array("scaled_loss" if kind == "scaled" else "loss")[:n_rows]
    members = None if of_class is None else class_of(run) == of_class
    return loss_analysis.histogram_axes(array, members, scaled=kind == "scaled")


def by_class(
    run: RunFolder, row: int, clean: np.ndarray, wrong: np.ndarray | None, names: Sequence[str]
) -> None:
    """Median and spread of the losses of each class. clean: (N,) P(clean); wrong: (N,) bool."""
    kind = get("loss")
    lines = loss_analysis.losses_by_class(losses_of(run, row, kind), clean, class_of(run), wrong)
    if len(lines) > charts.MAX_CLASSES:
        which = "with the lowest AUROC" if wrong is not None else "that come first"
        st.caption(f"The {charts.MAX_CLASSES} of {len(lines)} classes {which}; the CSV has all.")
    tops = [q[-1] for line in lines for q in line.quantiles.values()]
    top = 1.0 if kind == "scaled" else float(np.nanmax(tops)) * 1.05 or 1.0
    quantiles = ("q10", "q25", "median", "q75", "q90")
    table = pd.DataFrame(
        [
            {
                "class": names[line.class_id],
                "labels": group,
                "n": line.sizes[group],
                "auroc": line.auroc,
            }
            | dict(zip(quantiles, line.quantiles[group], strict=True))
            for line in lines
            for group in line.quantiles
        ]
    )
    figures.show(
        charts.losses_by_class(lines, names, top=top, title=TITLES[kind]),
        "losses-by-class",
        of=f"{run.folder.name}-epoch{run.epochs[row]['epoch']}",
        data=table,
        alt=f"Median and spread of the losses in each of {len(lines)} classes",
    )
