"""Taking the reviewed labels home: what comes of the decisions, and the files."""

import io

import numpy as np
import pandas as pd
import streamlit as st

from app.components import downloads, run_picker, text
from app.server.label_issues import issues_of
from app.server.run_view import RunView
from app.server.uploads import registry
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state.url_state import bound, get, put
from app.views.your_data import evidence, export
from engine.analysis.label_issues import MIN_PROBABILITY


def takehome() -> None:
    """What was decided, and the files."""
    name = run_picker.pick_run()
    view = RunView(name)
    found, reviews = issues_of(view), evidence.reviews_of(name)
    latest = reviews.latest()
    evidence.warn(found)
    left, right = st.columns(2, gap="large")
    with left:
        accept = also_accept(found, latest)
    final, how = export.final_labels(found, latest, accept)
    with right:
        outcome(view, found, final, how)
    files(view, found, latest, accept, final)
    changes(view, found, final, how)


def also_accept(found, latest) -> float | None:
    undecided = ~np.isin(np.arange(len(found.given)), list(latest))
    n_open = int((undecided & (found.suggested != found.given)).sum())
    n_proposed = int((undecided & (found.proposed != found.given)).sum())
    # from a link, or of another run
    if not MIN_PROBABILITY <= (get("accept") or 1) <= 1 or (found.warning and get("accept")):
        put(accept=None)
    st.markdown("**Labels nobody decided on**")
    key = "accept-held" if found.warning else "accept-on"
    on = st.toggle(
        "Also accept proposed changes unseen",
        value=get("accept") is not None,
        key=key,
        help="Without it, a label changes only where you said so. A change is proposed where the "
        f"network (probability at least {MIN_PROBABILITY:g}), the nearest images and the loss "
        "before correction all speak against the given label.",
        disabled=found.warning is not None,
        on_change=lambda: put(accept=MIN_PROBABILITY if st.session_state[key] else None),
    )
    if not on:
        st.caption(
            f"They stay as they came. {n_open:,} of them have another label suggested, "
            f"{n_proposed:,} of these would be changed unseen."
        )
        return None
    accept = st.slider(
        "If at least this probable",
        MIN_PROBABILITY,
        1.0,
        step=0.01,
        **bound("accept", MIN_PROBABILITY),
    )
    st.caption("These changes were seen by nobody; in the table they are marked “auto”.")
    return accept


def outcome(view: RunView, found, final: np.ndarray, how: list[str]) -> None:
    st.markdown("**What comes of it**")
    changed = final != found.given
    auto = np.array(how) == "auto"
    with st.container(horizontal=True, gap="large"):
        st.metric("Labels changed", f"{changed.sum():,}", width="content")
        st.metric("by you", f"{(changed & ~auto).sum():,}", width="content")
        st.metric("unseen", f"{(changed & auto).sum():,}", width="content")
    true = view.labels.get("true")
    if true is not None:
        st.caption(
            f"The truth is known here: {text.percent((found.given == true).mean())} of the "
            f"given labels were right, {text.percent((final == true).mean())} are now."
        )


def files(view: RunView, found, latest, accept, final: np.ndarray) -> None:
    name, run, classes, root = view.name, view.run, view.classes, runs().root
    ids = [view.sample_name(i) for i in range(len(final))]
    data = evidence.images_of(view)
    family = run.config.dataset.partition(":")[0]
    suffix = "zip" if family == "folder" else "npz"
    with st.container(horizontal=True, vertical_alignment="center", key="downloads"):
        if data is not None:
            downloads.button(
                f"The data set, reviewed (.{suffix})",
                lambda: export.data_set(run, data, final, root),
                f"{name}-reviewed.{suffix}",
                key="save-data",
                type="primary",
                icon=":material/folder_zip:",
            )
        downloads.button(
            "A table of all labels (.csv)",
            lambda: export.table(classes, ids, found, latest, accept),
            f"{name}-labels.csv",
            mime="text/csv",
            key="save-table",
            icon=":material/table:",
        )
        again = data is not None and runs().may_control(name, visitor()) and st.button(
            "Another round with these labels", icon=":material/replay:", key="again",
            help="Brings the reviewed data set back to step 2: a network that learns from better "
            "labels finds wrong ones that this one missed.",
        )  # fmt: skip
    st.caption(
        "The data set comes back in the form it came in: an npz with only the training labels "
        "changed, or class folders with the files moved. The table says for each sample what was "
        "given, suggested and decided, and when."
    )
    if again:
        with st.spinner("Packing and checking"):
            file = io.BytesIO(export.data_set(run, data, final, root))
            file_name = f"{name}-reviewed.{suffix}"
            about = registry.receive(file, file_name, root, owner=visitor().id)
        runs().claim(about.key)
        put(upload=about.key, step="check")
        st.rerun()


def changes(view: RunView, found, final: np.ndarray, how: list[str]) -> None:
    """The labels that change, to be looked over once more."""
    rows = np.flatnonzero(final != found.given)
    if not len(rows):
        st.info(
            "No label changes yet. Decide on some in step 3, or accept proposed changes unseen."
        )
        return
    classes, shown = view.classes, rows[: evidence.LISTED]
    table = pd.DataFrame(
        {
            "image": evidence.thumbnails(evidence.images_of(view), shown),
            "sample": [view.sample_name(int(row)) for row in shown],
            "given": [classes[label] for label in found.given[shown]],
            "final": [classes[label] for label in final[shown]],
            "decided": ["by you" if how[row] == "change" else "unseen" for row in shown.tolist()],
            "likelihood": found.pred_probs[shown, final[shown]],
        }
    )
    st.markdown(f"**Labels that change** ({len(rows):,})")
    st.dataframe(
        table,
        hide_index=True,
        key="changes",
        height=min(36 * len(shown) + 38, 330),
        column_config={
            "image": st.column_config.ImageColumn(width="small"),
            "likelihood": evidence.LIKELIHOOD,
        },
        alt="The labels that change",
    )
    if len(rows) > len(shown):
        st.caption(f"The first {len(shown)} are shown; the table to take home holds all.")
