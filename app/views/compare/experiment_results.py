"""A result of an experiment: conclusions, figures, tables, settings, and what repeats it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.components import figures, page, text
from app.server import escaping
from app.server.experiments import SHIPPED, experiments
from app.server.run_info import RunsError
from app.server.visible_runs import runs
from app.state.url_state import bound, get
from engine.errors import EngineError, StoreError
from engine.experiments import stored

if TYPE_CHECKING:
    import pandas as pd

HOMES = {"shipped": "part of the project", "server": "of this server"}
MOST_CONCLUSION = 2000  # characters of a stored sentence


def of(name: str) -> dict[str, tuple[str, str]]:
    """The results of an experiment: value of the URL parameter `result` -> home and data."""
    found = {}
    for home in HOMES:
        for stem in stored.stems(folder_of(home)).get(name, []):
            found[f"{home}/{stem}"] = home, stem.removeprefix(name).strip("-") or "results"
    in_order = sorted(
        found.items(), key=lambda item: (item[1][0] != "shipped", item[1][1] != "digits")
    )
    return dict(in_order)


def folder_of(home: str) -> Path:
    """The folder of shipped results, or of those of this server."""
    return SHIPPED if home == "shipped" else experiments().results


def show(name: str) -> None:
    """The chosen result of an experiment, or a sentence on why it cannot be shown."""
    options = of(name)
    if not options:
        st.info("There is no result yet. **Start** above trains its runs and evaluates them.")
        return
    chosen = get("result") if get("result") in options else next(iter(options))
    job = experiments().job(name)
    if get("result") not in (None, chosen) and not (job and job.live):
        st.caption(f"The result {escaping.markdown(get('result'))} is not on this server.")
    if len(options) > 1:
        titles = {k: escaping.markdown(f"{data}, {HOMES[h]}") for k, (h, data) in options.items()}
        page.switch("Result", titles, **bound("result", chosen, instead=True))
    home, data = options[chosen]
    stem = chosen.partition("/")[2]
    try:
        result = visible(folder_of(home), stem)
    except EngineError as error:
        st.error(escaping.lines(escaping.without_paths(error, folder_of(home))))
        return
    st.caption(in_words(result, f"{data}, {HOMES[home]}"))
    shipped = stored.conclusions().get(name) if home == "shipped" else None
    tables = read_tables(folder_of(home), result)
    if shipped:
        with st.container(key="conclusions"):
            st.markdown(shipped.text)
        st.caption(
            "From the project's README; tests are paired by seed and corrected for multiple "
            "comparisons."
        )
    else:
        sentences(result, tables)
    pictures(folder_of(home), result, tables)
    show_table(folder_of(home), stem, result, tables)
    settings(result)


def visible(folder: Path, stem: str) -> stored.Result:
    """A result. Raises StoreError, and RunsError for one on data that the visitor may not see."""
    result = stored.read(folder, stem)
    if folder != SHIPPED and not runs().sees_results(str(result.settings.get("dataset", ""))):
        raise RunsError("this result was measured on private data: only the teacher may see it")
    return result


def in_words(result: stored.Result, title: str) -> str:
    """Where a result comes from, on how many runs, seeds, and on which machine, as Markdown."""
    words = [text.count(result.n_runs, "run"), text.count(len(result.seeds), "seed")]
    if result.n_missing:
        words.append(f"{result.n_missing} planned runs missing")
    if result.seconds_a_run is not None:
        words.append(f"{text.minutes(result.seconds_a_run)} a run")
    machine = result.machine
    words += [str(machine[part]) for part in ("processor", "gpu") if machine.get(part)]
    words.append(f"commit {', '.join(result.trained_on_commits[:5]) or 'not known'}")
    return escaping.markdown(f"Shown: {title}: {', '.join(words)}.", escaping.MOST_ERROR)


def read_tables(folder: Path, result: stored.Result) -> dict[str, pd.DataFrame | str]:
    """The tables of a result, or in their place why one cannot be read."""
    tables: dict[str, pd.DataFrame | str] = {}
    for name, file in result.tables.items():
        try:
            tables[name] = stored.table(folder, file)
        except StoreError as error:
            tables[name] = escaping.without_paths(error, folder)
    return tables


def sentences(result: stored.Result, tables: dict[str, Any]) -> None:
    """The stored conclusions; those of older versions are said to be without correction."""
    if not all(isinstance(t, str) or stored.is_corrected(t) for t in tables.values()):
        st.warning(
            "An older version wrote this result: what its sentences and figures call better, worse "
            "or not significantly different is not corrected for multiple comparisons."
        )
    if len(result.seeds) == 1:
        st.caption("One seed: there are no intervals, and no difference can be tested.")
    st.markdown(
        "\n".join(f"- {escaping.markdown(answer, MOST_CONCLUSION)}" for answer in result.answers)
        or "It has no conclusions."
    )


def pictures(folder: Path, result: stored.Result, tables: dict[str, Any]) -> None:
    """The stored figures on white; those that are stored as HTML are drawn from the tables."""
    stored_pictures = [name for name in result.figures if name.endswith(".png")]
    for number, name in enumerate(stored_pictures):
        try:
            content = stored.picture(folder, name)
        except StoreError as error:
            st.warning(escaping.lines(error))
            continue
        with st.container(key=f"picture-{number}"):
            st.image(content, width="stretch", alt=f"Figure {Path(name).stem}: {result.question}")
    if stored_pictures or not result.figures:
        return
    try:
        drawn = stored.drawn(
            result.experiment, {n: t for n, t in tables.items() if not isinstance(t, str)}
        )
    except StoreError as error:
        st.warning(escaping.lines(error))
        return
    for name, figure in drawn.items():
        figures.show(figure, f"experiment-{name}", alt=f"Figure {name}: {result.question}")


def show_table(folder: Path, stem: str, result: stored.Result, tables: dict[str, Any]) -> None:
    """One of the tables, and its file."""
    if not tables:
        return
    st.subheader("Tables", anchor=False)
    with st.container(horizontal=True, vertical_alignment="center"):
        name = st.selectbox(
            "Table", list(tables), key=f"table-{stem}", label_visibility="collapsed", width=320
        )
        table = tables[name]
        if isinstance(table, str):
            st.warning(escaping.lines(table))
            return
        figures.save_csv(f"{stem}.{name}", lambda: _again(folder, stem, name))
    if not stored.is_corrected(table):
        table = table.drop(columns="clear")
        st.caption(
            "Without its column `clear`: its tests were not corrected for multiple comparisons."
        )
    st.dataframe(
        table, hide_index=True, height=min(38 + 35 * len(table), 360), key=f"numbers-{stem}-{name}"
    )


def _again(folder: Path, stem: str, name: str) -> pd.DataFrame:
    """A table for a download, after a new check that the visitor may see it."""
    return stored.table(folder, visible(folder, stem).tables[name])


def settings(result: stored.Result) -> None:
    """Settings that all runs share and those that differ, the machine, and the command."""
    import pandas as pd

    st.subheader("Run it again", anchor=False)
    st.code(stored.command(result), language="bash")
    with st.expander("Settings and machine"):
        rows = [(name, ", ".join(map(str, values))) for name, values in result.varied.items()]
        rows += [(name, str(value)) for name, value in result.settings.items()]
        rows += [(f"machine: {name}", str(value)) for name, value in result.machine.items()]
        rows += [("networks", ", ".join(result.networks))]
        frame = pd.DataFrame([(n, v[:500]) for n, v in rows[:300]], columns=["Setting", "Value"])
        st.dataframe(frame, hide_index=True, height=360, key="experiment-settings")
