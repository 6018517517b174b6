"""What can be done with the marked rows of the table of runs."""

import pandas as pd
import streamlit as st

from app.components import figures, page, run_picker, text
from app.server import escaping, run_cache
from app.server.run_info import RunInfo, RunsError
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state.url_state import link, put
from engine.analysis.run_changes import differing_settings, in_words, settings_in_use
from engine.analysis.run_table import Row
from engine.errors import StoreError
from engine.runs.annotation import MOST_NOTE, MOST_TITLE

MOST_COMPARED = 6  # on Compare


def show(rows: list[Row], names: list[str], labels: dict[str, str]) -> None:
    """The actions on the marked runs, and how their settings differ."""
    if not names:
        st.caption("Mark a row to open, rename, note, pin or delete a run; mark two to compare.")
        return
    infos = [runs().info(name) for name in names]
    by_name = {row["name"]: row for row in rows}
    with st.container(border=True, key="chosen-runs"):
        with st.container(horizontal=True, vertical_alignment="center"):
            if len(names) == 1:
                run_picker.state_badge(infos[0])
                st.markdown(f"**{escaping.markdown(labels[names[0]])}**")
            else:
                st.markdown(f"**{len(names)} runs marked**")
            st.space("stretch")
            open_links(names)
            if len(names) == 1 and infos[0].state != "queued":
                pin_button(infos[0])
            delete_button(infos)
        if len(names) == 1:
            rename(infos[0], by_name[names[0]])
        else:
            settings_table(names, labels)


def open_links(names: list[str]) -> None:
    """Links to the pages that show the marked runs."""
    pages = [("compare", "Compare", "compare_arrows")]
    if len(names) <= 2:
        pages = [("player", "Player", "movie"), *pages]
    if len(names) == 1:
        pages = [("train", "Train", "play_circle"), ("sample", "Sample", "image_search"), *pages]
    beside = names[0] if len(names) == 2 else None
    compared = tuple(names[:MOST_COMPARED])
    query = link(run=names[-1], against=beside, compare=compared, epoch=None)
    for name, title, icon in pages:
        st.page_link(
            f"views/{name}/page.py",
            label=title,
            icon=f":material/{icon}:",
            query_params=query,
            width="content",
        )


def pin_button(info: RunInfo, key: str = "pin") -> None:
    """A button that pins a run, or unpins it. key: unique on the page, with the run's name."""
    st.button(
        "Unpin" if info.pinned else "Pin",
        icon=":material/keep_off:" if info.pinned else ":material/keep:",
        key=f"{key}-{info.name}",
        disabled=not runs().may_control(info.name, visitor()),
        on_click=page.guarded(lambda: runs().pin(info.name, visitor(), not info.pinned)),
        help="A pinned run continues when no one watches it, and is kept when old runs are removed",
    )


def delete_button(infos: list[RunInfo]) -> None:
    """A button that deletes the marked runs, once confirmed; for their owner and the teacher."""
    names = [info.name for info in infos]
    if not all(runs().may_delete(name, visitor()) for name in names):
        return
    if any(info.active for info in infos):
        st.caption("Active runs can be deleted once they are stopped.")
        return
    what = "this run" if len(names) == 1 else f"these {len(names)} runs"
    with st.popover("Delete", icon=":material/delete:"):
        st.markdown(f"Delete {what} and everything in it? This cannot be undone.")
        st.button(
            "Delete permanently",
            key="delete-marked",
            type="primary",
            on_click=page.guarded(delete),
            args=(names,),
        )


def delete(names: list[str]) -> None:
    """Delete runs. Raises RunsError for the first that cannot be deleted."""
    for name in names:
        runs().delete(name, visitor())
    put(marked=None)


def rename(info: RunInfo, row: Row) -> None:
    """The form for the title and the note of a run; others than its owner see them only."""
    if not runs().may_control(info.name, visitor()):
        if row["note"]:
            st.markdown(escaping.lines(row["note"], MOST_NOTE))
        st.caption("It belongs to another visitor, who can rename it.")
        return
    with st.form(f"rename-{info.name}", border=False):
        columns = st.columns([2, 4, 1], vertical_alignment="bottom")
        title = columns[0].text_input(
            "Title", row["title"], max_chars=MOST_TITLE, placeholder="named by its settings"
        )
        note = columns[1].text_input("Note", row["note"], max_chars=MOST_NOTE)
        if columns[2].form_submit_button("Save", width="stretch"):
            try:
                runs().annotate(info.name, visitor(), title, note)
            except (RunsError, StoreError) as error:
                page.explain(error)
            else:
                st.rerun()


def settings_table(names: list[str], labels: dict[str, str]) -> None:
    """The settings that differ between the marked runs, a column for each."""
    known, unread = {}, []
    for name in names[:MOST_COMPARED]:
        try:
            known[name] = settings_in_use(run_cache.run(name))
        except StoreError:
            unread.append(name)
    if unread:
        st.caption(f"Without settings to compare: {escaping.markdown(', '.join(unread))}.")
    if len(known) < 2:
        return
    differing = differing_settings(list(known.values()))
    only = {
        name
        for settings in known.values()
        for name in settings
        if not all(name in other for other in known.values())
    }
    used_by_some = {name: [s.get(name, "not used") for s in known.values()] for name in only}
    methods = [run_cache.run(name).config.method for name in known]
    table = {"method": methods} if len(set(methods)) > 1 else {}
    table |= used_by_some | differing
    if not table:
        st.markdown("All their settings are the same.")
        return
    frame = pd.DataFrame(
        [[in_words(setting), *map(shown, values)] for setting, values in table.items()],
        columns=["Setting", *(labels[name] for name in known)],
    )
    st.markdown(f"**{text.count(len(frame), 'setting')} differ**")
    st.dataframe(frame, hide_index=True, key="settings-that-differ")
    figures.save_csv("settings-that-differ", frame)


def shown(value: object) -> str:
    """A value of a setting as the table shows it."""
    return "not used" if value is None else in_words("", value)
