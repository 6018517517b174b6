"""Step 4 of Your data: a summary of the decisions, and the files to download."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from app.components import downloads, run_picker, text
from app.server import escaping
from app.server.decisions import Decision
from app.server.label_issues import issues_of
from app.server.run_view import RunView
from app.server.uploads import registry
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state.url_state import bound, get, put
from app.views.your_data import evidence, export
from app.views.your_data.reviews import reviews_of
from engine.analysis.exports.bundle import Bundle
from engine.analysis.label_export import labels_csv
from engine.analysis.label_issues import MIN_PROBABILITY, LabelIssues
from engine.analysis.review import AUTO, FinalLabels, final_labels
from engine.errors import StoreError

NAMES = {  # of the forms
    "npz": "NumPy",
    "zip": "Class folders",
    "manifest": "Table",
    "cleanlab": "cleanlab",
    "labelstudio": "Label Studio",
    "fiftyone": "FiftyOne",
    "huggingface": "Hugging Face",
    "croissant": "Croissant",
}


def show() -> None:
    """The summary, the files, and the labels that change."""
    name = run_picker.pick_run()
    view = RunView(name)
    issues, decisions = issues_of(view), reviews_of(name).latest()
    evidence.estimate(issues)
    left, right = st.columns(2, gap="large")
    with left:
        accept = accept_unseen(issues, decisions)
    final = final_labels(issues, decisions, accept)
    with right:
        summary(view, issues, final)
    files(view, issues, final)
    changes(view, issues, final)


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
        "among those estimated to be wrong, where another class has a probability of at least "
        f"{MIN_PROBABILITY:g} and the network predicts it.",
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


def summary(view: RunView, issues: LabelIssues, final: FinalLabels) -> None:
    """How many labels change, and how many are right if the true labels are known."""
    st.markdown("**Summary**")
    by_you, unseen, removed = final.counts(issues.given)
    with st.container(horizontal=True, gap="large"):
        st.metric("Labels changed", f"{by_you + unseen:,}", width="content")
        st.metric("by you", f"{by_you:,}", width="content")
        st.metric("unseen", f"{unseen:,}", width="content")
        if removed:
            st.metric("Images removed", f"{removed:,}", width="content")
    true = view.labels.get("true")
    if true is not None and not final.removed.all():
        right = (final.labels == true)[~final.removed].mean()
        st.caption(
            f"The true labels are known here: {text.percent((issues.given == true).mean())} of the "
            f"given labels were right, {text.percent(right)} are now."
        )


def files(view: RunView, issues: LabelIssues, final: FinalLabels) -> None:
    """The data set with the final labels, the table, other forms, and another round."""
    name, run, root = view.name, view.run, runs().root
    data = evidence.images_of(view)
    bundle = Bundle(run, issues, final, loaded=data)
    own = None if data is None else export.own_form(bundle, root)
    file_name = "" if own is None else f"{name}-reviewed{export.suffix(bundle, own, root)}"
    again = False
    with st.container(horizontal=True, vertical_alignment="center", key="downloads"):
        if own is not None:
            downloads.button(
                f"The data set, reviewed ({Path(file_name).suffix})",
                lambda: export.contents(bundle, own, root),
                file_name,
                key="save-data",
                type="primary",
                icon=":material/folder_zip:",
            )
        downloads.button(
            "A table of all labels (.csv)",
            lambda: labels_csv(run, issues, final),
            f"{name}-labels.csv",
            mime="text/csv",
            key="save-table",
            icon=":material/table:",
        )
        if own is not None and runs().may_control(name, visitor()):
            again = st.button(
                "Another round with these labels",
                icon=":material/replay:",
                key="again",
                help="Goes back to step 2 with the reviewed data set: a network that trains on "
                "better labels finds wrong ones that this one missed.",
            )
    st.caption(
        "The data set keeps the format of the upload: an npz or a table with only the training "
        "labels changed, or class folders with the files moved. What belongs to no class is left "
        "out. The table of all labels lists for each sample the given, suggested and final label, "
        "and the decision."
    )
    if own is not None:
        other_forms(bundle, name, root)
    if again and own is not None:
        start_again(bundle, own, file_name)


def other_forms(bundle: Bundle, name: str, root: Path) -> None:
    """A choice of the forms of other tools, and the button that saves the data set in one."""
    offered = export.offered(bundle, root)
    with st.container(horizontal=True, vertical_alignment="bottom", key="other-forms"):
        form = st.selectbox(
            "In the form of another tool",
            list(offered),
            format_func=lambda form: f"{NAMES[form]}: {offered[form]}",
            key="form",
            width=440,
        )
        suffix = export.suffix(bundle, form, root)
        downloads.button(
            f"Save ({suffix})",
            lambda: export.contents(bundle, form, root),
            f"{name}-{form}{suffix}",
            key="save-form",
        )


def start_again(bundle: Bundle, form: str, file_name: str) -> None:
    """Make an upload of the data set with the final labels, and go to step 2 with it."""
    root = runs().root
    try:
        with st.spinner("Packing and checking"):
            file = io.BytesIO(export.contents(bundle, form, root))
            upload = registry.receive(file, file_name, root, owner=visitor().id)
    except StoreError as error:
        st.error(escaping.lines(error), icon=":material/block:")
        return
    runs().claim(upload.key)
    put(upload=upload.key, step="check")
    st.rerun()


def changes(view: RunView, issues: LabelIssues, final: FinalLabels) -> None:
    """The labels that change, to be checked once more."""
    rows = np.flatnonzero((final.labels != issues.given) | final.removed)
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
            "final": [
                "(removed)" if final.removed[row] else classes[final.labels[row]]
                for row in shown.tolist()
            ],
            "decided": ["unseen" if final.how[row] == AUTO else "by you" for row in shown.tolist()],
            "likelihood": issues.pred_probs[shown, final.labels[shown]],
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
