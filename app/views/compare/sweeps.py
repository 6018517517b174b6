"""Heat maps of a folder of runs over K, alpha and noise rate."""

from collections.abc import Callable

import streamlit as st

from app.components import figures, text
from app.server.visible_runs import runs
from app.state.url_state import bound, get
from app.views.compare.panels import in_columns
from engine.analysis import run_table, sweeps
from engine.charts import compare as charts


def show() -> None:
    """The choice of a folder, of runs in it and of a metric, and their heat maps."""
    st.subheader("Sweeps: which K, alpha and noise?", anchor=False)
    folders = sweeps.sweep_folders(runs().root, shown=runs().sees_folder)
    if not folders:
        st.markdown(
            "No folder of runs here differs in K, alpha or noise rate. Train some, and their "
            "heat map appears."
        )
        return
    first, second, third = st.columns(3)
    with first:
        folder = choice("Folder", "sweep", list(folders))
    rows = run_table.rows(folders[folder], shown=runs().sees_folder)
    done = [row for row in rows if row["state"] == "done"]
    mixed = sum(not row["pure"] for row in done)
    if mixed:
        st.toggle(
            f"Include {text.count(mixed, 'run')} forked or changed while training",
            **bound("mixed"),
            help="Their K and alpha are those of the last epoch only.",
        )
    setups = sweeps.sweeps_by_setup(rows, mixed=get("mixed"))
    if not setups:
        st.markdown(
            "None of its runs has finished yet."
            if not done
            else "Its finished runs that were neither forked nor changed while they trained differ "
            "in no K, alpha or noise rate."
        )
        return
    with second:
        setup = choice("Runs", "sweep_of", list(setups))
    metrics = [m for m in run_table.METRICS if any(row[m] is not None for row in setups[setup])]
    with third:
        metric = choice("Number", "sweep_metric", metrics, run_table.METRICS.__getitem__)
    left_out = len(rows) - len(done), 0 if get("mixed") else mixed
    heat_maps(setups[setup], metric, *left_out)


def choice(
    label: str, name: str, options: list[str], format_func: Callable[[str], str] = str
) -> str:
    """A list to choose from; the first option if the selected one is not among them."""
    selected = get(name) if get(name) in options else options[0]
    widget = bound(name, selected, instead=True)
    return st.selectbox(label, options, format_func=format_func, **widget) or selected


def heat_maps(group: list[run_table.Row], metric: str, n_unfinished: int, n_mixed: int) -> None:
    """A heat map of a metric, one for each noise rate if K and alpha vary as well."""
    cells, words = sweeps.sweep_cells(group, metric), run_table.METRICS[metric]
    st.markdown(sweeps.sweep_caption(cells, words, n_unfinished, n_mixed))
    varying = [axis for axis in run_table.SWEEP_AXES if cells[axis].nunique() > 1]
    rates: list[float | None] = [None]
    if len(varying) == 3:
        rates = sorted(cells["rate"].unique())
    for rate, column in in_columns(rates):
        shown = cells if rate is None else cells[cells["rate"] == rate]
        with column:
            figures.show(
                charts.sweep_heatmap(cells, words, rate=rate),
                f"sweep-{metric}-{rate}",
                data=cells,
                alt=f"Heat map of {words} over {', '.join(varying)}; the highest cell has "
                f"{text.percent(shown['mean'].max())}",
            )
