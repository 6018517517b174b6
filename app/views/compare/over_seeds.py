"""Several seeds of the runs compared: how many there are, means with intervals, and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from app.components import figures, seeds, text
from app.components.page import explain
from app.server import escaping
from app.server.visible_runs import runs
from app.state.url_state import bound, get, put
from engine.analysis.run_table import METRICS, Row
from engine.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Families = dict[str, dict[int, str]]  # run compared -> seed -> run


def families(names: Sequence[str], rows: Sequence[Row]) -> Families:
    """The seeds of each run compared; {} for a fork or a run changed while it trained.

    Of several runs that differ in the seed alone, the first stands for all.
    """
    found: Families = {}
    for name in names:
        members = seeds.family(name, rows)
        if not any(name in other.values() for other in found.values()):
            found[name] = members
    return found


def finished(members: Mapping[int, str]) -> dict[int, str]:
    """The seeds whose run is done."""
    return {seed: run for seed, run in members.items() if runs().info(run).state == "done"}


def controls(names: Sequence[str], rows: Sequence[Row]) -> None:
    """Whether means over seeds are shown, each seed with them; and the button for more seeds."""
    pure = {row["name"]: row["config"] for row in rows if row["pure"] and row["config"]}
    configs = [pure[name] for name in names if name in pure]
    with st.container(horizontal=True, vertical_alignment="center", key="over-seeds"):
        st.toggle("Mean over seeds", **bound("seeds"), help="Runs that differ in the seed alone.")
        if get("seeds"):
            st.toggle("Each seed", **bound("each_seed"))
        st.button(
            seeds.REPEAT,
            icon=":material/replay:",
            key="repeat",
            disabled=not configs,
            help=seeds.REPEAT_HELP if configs else seeds.MIXED_HELP,
            on_click=_repeat,
            args=(configs,),
        )


def _repeat(configs: list) -> None:
    try:
        seeds.repeat(configs)
    except EngineError as error:
        explain(error)
    else:
        put(seeds=True)


def progress(found: Families, short: Mapping[str, str]) -> None:
    """How many seeds of each run are finished, and which runs have no others."""
    words = []
    for name, members in found.items():
        n, done = len(members), len(finished(members))
        label = escaping.markdown(short[name])
        if not members:
            words.append(f"{label}: one run, since it is a fork or was changed while it trained")
        elif done < n:
            words.append(f"{label}: {done} of {text.count(n, 'seed')} finished")
        else:
            words.append(f"{label}: {text.count(n, 'seed')}")
    st.caption("; ".join(words) + ". The band is the 95 % interval of the mean.")


def tests(found: Families, rows: Sequence[Row], short: Mapping[str, str]) -> None:
    """Means with intervals, and tests of the differences between the runs, in words."""
    from engine.analysis import statistics

    st.subheader("Is the difference more than chance?", anchor=False)
    metric = st.selectbox(
        "Number",
        list(METRICS),
        format_func=METRICS.__getitem__,
        label_visibility="collapsed",
        **bound("seed_metric"),
    )
    frame = values(found, rows, short, metric)
    table = statistics.means(frame, ["run"], [metric])
    if table.empty or table["n"].max() < 2:
        st.info(f"Two finished seeds of a run are needed: **{seeds.REPEAT}** trains them.")
        return
    names = [short[name] for name in found]
    first = names[0]
    others = frame[frame["run"] != first]
    reference = frame[frame["run"] == first].drop(columns="run")
    paired = statistics.differences(others, reference, ["run"], [metric])
    shown = pd.DataFrame(
        [
            {
                "Run": row["run"],
                "Mean [95 % interval]": statistics.format_mean(row),
                f"Difference to {first}": _difference(paired, row["run"]),
                "In words": _verdict(paired, row["run"], first),
            }
            for row in table.set_index("run").reindex(names).reset_index().to_dict("records")
            if row["n"] == row["n"]  # has a value
        ]
    )
    st.dataframe(shown, hide_index=True, key="seed-means")
    st.caption(
        "Runs with the same seed share wrong labels and initial weights, so differences are taken "
        "within seeds: paired t-tests, corrected for several comparisons (Holm)."
    )
    figures.save_csv(f"seeds-{metric}", frame)
    if table["run"].nunique() > 2:
        pairs(statistics.all_pairs(frame, "run", metric), metric)


def pairs(table: pd.DataFrame, metric: str) -> None:
    """All pairs of runs, in words."""
    if table.empty:
        return
    from engine.analysis.statistics import describe_difference

    words = pd.DataFrame(
        [
            {
                "Pair": f"{row['second']} minus {row['first']}",
                "Difference [95 % interval]": f"{100 * row['mean']:+.1f} points "
                f"[{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]",
                "p": f"{row['p']:.3f}" if row["p"] >= 0.001 else "< 0.001",
                "In words": describe_difference(row, more="higher", less="lower"),
            }
            for row in table.to_dict("records")
        ]
    )
    with st.expander("All pairs"):
        st.dataframe(words, hide_index=True, key="seed-pairs")
        st.caption(
            "Tukey's test in the form for unequal variances (Games and Howell), which does not "
            "pair seeds; intervals and p-values hold for all pairs together."
        )


def values(
    found: Families, rows: Sequence[Row], short: Mapping[str, str], metric: str
) -> pd.DataFrame:
    """A row per run compared and finished seed: run (its short name), seed and the metric."""
    by_name = {row["name"]: row for row in rows}
    table = [
        {"run": short[name], "seed": seed, metric: by_name[run][metric]}
        for name, members in found.items()
        for seed, run in finished(members or _alone(by_name[name])).items()
        if run in by_name
    ]
    frame = pd.DataFrame(table, columns=["run", "seed", metric])
    frame[metric] = frame[metric].astype(float)
    return frame.dropna()


def _alone(row: Row) -> dict[int, str]:
    return {row["seed"]: row["name"]}


def _difference(paired: pd.DataFrame, run: str) -> str:
    from engine.analysis.statistics import format_mean

    rows = paired[paired["run"] == run]
    return "" if rows.empty else format_mean(rows.iloc[0], sign=True)


def _verdict(paired: pd.DataFrame, run: str, first: str) -> str:
    """ "significantly higher (p = 0.003)"."""
    if run == first:
        return "the reference"
    rows = paired[paired["run"] == run]
    if rows.empty:
        return "no seed in common"
    row = rows.iloc[0]
    if row["n"] < 2:
        return "one seed in common: no test"
    if pd.isna(row["p"]):
        return "no difference in any seed"
    p = f"p = {row['p']:.3f}" if row["p"] >= 0.001 else "p < 0.001"
    if not row["clear"]:
        return f"not significantly different ({p})"
    return f"significantly {'higher' if row['mean'] > 0 else 'lower'} ({p})"
