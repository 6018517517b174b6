"""Step 4 of Your data: a summary of the decisions, and the files to download."""

import io

import numpy as np
import pandas as pd
import streamlit as st

from app.components import downloads, run_picker, text
from app.server.decisions import Decision
from app.server.label_issues import issues_of
from app.server.run_view import RunView
from app.server.uploads import registry
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state.url_state import bound, get, put
from app.views.your_data import evidence, export
from app.views.your_data.reviews import reviews_of
from engine.analysis.label_issues import MIN_PROBABILITY, LabelIssues
from engine.data import Data
from engine.runs.folder import RunFolder


def show() -> None:
    """The summary, the files, and the labels that change."""
    name = run_picker.pick_run()
    view = RunView(name)
    issues, decisions = issues_of(view), reviews_of(name).latest()
    evidence.estimate(issues)
    left, right = st.columns(2, gap="large")
    with left:
        accept = accept_unseen(issues, decisions)
    final, how = export.final_labels(issues, decisions, accept)
    with right:
        summary(view, issues, final, how)
    files(view, issues, decisions, accept, final, np.array(how) == "remove")
    changes(view, issues, final, how)


def accept_unseen(issues: LabelIssues, decisions: dict[int, Decision]) -> float | None:
    """The setting for labels without a decision: the least probability of changes, or None."""
    undecided = ~np.isin(np.arange(len(issues.given)), list(decisions))
    n_open = int((undecided & (issues.suggested != issues.given)).sum())
    n_proposed = int((undecided & (issues.proposed != issues.given)).sum())
    # a link, or another run, may have set it
    if not MIN_PROBABILITY <= (get("accept") or 1) <= 1 or (issues.warning and get("accept")):
        put(accept=None)
    st.markdown("**Labels without a decision**")
    key = "accept-held" if issues.warning else "accept-on"
    on = st.toggle(
        "Also accept proposed changes unseen",
        value=get("accept") is not None,
        key=key,
        help="Without it, only the labels you decided on change. A change is proposed for labels "
        "among those estimated to be wrong, where the labels of the most similar images give "
        f"another class a probability of at least {MIN_PROBABILITY:g} and the network predicts it.",
        disabled=issues.warning is not None,
        on_change=lambda: put(accept=MIN_PROBABILITY if st.session_state[key] else None),
    )
    if not on:
        st.caption(
            f"They keep their given labels. For {n_open:,} of them another label is suggested; "
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
    st.caption("Nobody has reviewed these changes; in the table they are marked “auto”.")
    return accept


def summary(view: RunView, issues: LabelIssues, final: np.ndarray, how: list[str]) -> None:
    """How many labels change, and how many are right if the true labels are known."""
    st.markdown("**Summary**")
    changed = final != issues.given
    auto = np.array(how) == "auto"
    with st.container(horizontal=True, gap="large"):
        st.metric("Labels changed", f"{changed.sum():,}", width="content")
        st.metric("by you", f"{(changed & ~auto).sum():,}", width="content")
        st.metric("unseen", f"{(changed & auto).sum():,}", width="content")
    true = view.labels.get("true")
    if true is not None:
        st.caption(
            f"The true labels are known here: {text.percent((issues.given == true).mean())} of the "
            f"given labels were right, {text.percent((final == true).mean())} are now."
        )


def files(
    view: RunView,
    issues: LabelIssues,
    decisions: dict[int, Decision],
    accept: float | None,
    final: np.ndarray,
    removed: np.ndarray,
) -> None:
    """The data set with the final labels, the table, and another round with them."""
    name, run, classes, root = view.name, view.run, view.classes, runs().root
    ids = [view.sample_name(i) for i in range(len(final))]
    data = evidence.images_of(view)
    family = run.config.dataset.partition(":")[0]
    suffix = "zip" if family == "folder" else "npz"
    file_name = f"{name}-reviewed.{suffix}"
    again = False
    with st.container(horizontal=True, vertical_alignment="center", key="downloads"):
        if data is not None:
            downloads.button(
                f"The data set, reviewed (.{suffix})",
                lambda: export.data_set(run, data, final, root, removed),
                file_name,
                key="save-data",
                type="primary",
                icon=":material/folder_zip:",
            )
        downloads.button(
            "A table of all labels (.csv)",
            lambda: export.table(classes, ids, issues, decisions, accept),
            f"{name}-labels.csv",
            mime="text/csv",
            key="save-table",
            icon=":material/table:",
        )
        if data is not None and runs().may_control(name, visitor()):
            again = st.button(
                "Another round with these labels",
                icon=":material/replay:",
                key="again",
                help="Goes back to step 2 with the reviewed data set: a network that trains on "
                "better labels finds wrong ones that this one missed.",
            )
    st.caption(
        "The data set keeps the format of the upload: an npz with only the training labels "
        "changed, or class folders with the files moved. The table lists for each sample the "
        "given, suggested and final label, the decision, and when it was made."
    )
    if removed.any():
        st.caption(
            f"{removed.sum():,} images that belong to no class are left out of the data set, "
            "unless a table in it lists the images; the table of all labels says “remove”."
        )
    if again and data is not None:
        start_again(run, data, final, removed, file_name)


def start_again(
    run: RunFolder, data: Data, final: np.ndarray, removed: np.ndarray, file_name: str
) -> None:
    """Make an upload of the data set with the final labels, and go to step 2 with it."""
    root = runs().root
    with st.spinner("Packing and checking"):
        file = io.BytesIO(export.data_set(run, data, final, root, removed))
        upload = registry.receive(file, file_name, root, owner=visitor().id)
    runs().claim(upload.key)
    put(upload=upload.key, step="check")
    st.rerun()


def changes(view: RunView, issues: LabelIssues, final: np.ndarray, how: list[str]) -> None:
    """The labels that change, to be checked once more."""
    rows = np.flatnonzero(final != issues.given)
    if not len(rows):
        st.info(
            "No label changes yet. Decide on some in step 3, or accept proposed changes unseen."
        )
        return
    classes, shown = view.classes, rows[: evidence.MAX_LISTED]
    table = pd.DataFrame(
        {
            "image": evidence.thumbnails(evidence.images_of(view), shown),
            "sample": [view.sample_name(int(row)) for row in shown],
            "given": [classes[label] for label in issues.given[shown]],
            "final": [classes[label] for label in final[shown]],
            "decided": ["by you" if how[row] == "change" else "unseen" for row in shown.tolist()],
            "likelihood": issues.pred_probs[shown, final[shown]],
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
            "likelihood": evidence.PROBABILITY,
        },
        alt="The labels that change",
    )
    if len(rows) > len(shown):
        st.caption(f"The first {len(shown)} are shown; the table to download has all.")
