"""Labels: did correction work?"""

import streamlit as st

from app.components import epoch_slider, run_picker
from app.components.page import head, parts
from app.server.run_view import RunView
from app.state.url_state import get
from app.views.labels import change_list, flow, matrices, summary
from app.views.labels.label_table import LabelView

PARTS = {  # key in the URL -> title, what draws it
    "flips": ("Label flips", flow.flips),
    "harmed": ("Harmed labels", change_list.harmed),
    "changes": ("All changes", change_list.listing),
    "predictions": ("Predictions", matrices.predictions),
    "noise": ("Estimated noise", matrices.transitions),
}


def main() -> None:
    head(
        "Did correction work?",
        "Training may change labels that it takes for wrong; this page shows which ones, when, and "
        "whether that helped.",
        "given label",
        "corrected label",
        "true label",
        "soft label",
        "correction",
        "confusion",
        "transition matrix",
        "P(clean)",
        "alpha",
    )
    name = run_picker.pick_run()
    labels = LabelView(RunView(name, epoch_slider.scrub(name)))
    summary.show(labels)
    if labels.n_changed:
        left, right = st.columns(2, gap="large")
        with left:
            flow.flow(labels)
        with right:
            matrices.confusion(labels)
        titles = {key: title for key, (title, _) in PARTS.items()}
        part = parts(titles, "changes" if get("changes") != "all" else None)
        PARTS[part][1](labels)
    else:
        matrices.confusion(labels)
        matrices.predictions(labels)
        if labels.correction_start is not None:
            flow.flips(labels)


main()
