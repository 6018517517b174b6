"""Sample: what did MixNN do with this image?"""

import streamlit as st

from app.components import epoch_slider, images, page, run_picker
from app.server import escaping, run_cache
from app.server.run_view import RunView
from app.state.url_state import bound, get, put
from app.views.sample import card, manual_mixing, search
from app.views.sample.sample import Sample
from engine.errors import StoreError


def main() -> None:
    page.head(
        "What did MixNN do with this image?",
        "Follow one label from given to corrected: which images its image was mixed with, how much "
        "each weighed, and what the network predicted.",
        "given label",
        "true label",
        "corrected label",
        "soft label",
        "loss",
        "P(clean)",
        "neighbors",
        "K",
        "features",
        "mixing",
        "weights",
        "mixup",
        "warm-up",
        "epoch",
    )
    name = run_picker.pick_run()
    view = RunView(name, epoch_slider.scrub(name))
    sample = chosen_sample(view)
    if sample is None:
        page.empty(
            "No sample to show. Choose another search above, or an epoch in which labels have "
            "moved.",
            "views/sample/page.py",
            "Show all samples",
            search="all",
        )
        return
    say_missing_images(view)
    shown = samples_shown(view, sample)
    cards(shown, sample, view.n)
    options = {"epochs": "Over the epochs", "mix": "Mix by hand"}
    if page.parts(options, "mix" if get("mix") else None) == "mix":
        manual_mixing.mix_by_hand(name, view.row, sample)
        return
    for column, (key, one) in zip(st.columns(len(shown), gap="large"), shown.items(), strict=True):
        with column:
            card.over_epochs(one, key)


def chosen_sample(view: RunView) -> int | None:
    """The search, the steps through its results, and the sample selected; None: no match."""
    with st.container(horizontal=True, vertical_alignment="center", key="search"):
        samples = search.search(search.labels_of(view), view.classes)
        sample = search.walk(samples, view.n)
        if sample is not None:
            second_sample_button(sample, view.n)
            images.smooth_toggle("sample")
    search.position(samples, sample)
    return sample


def say_missing_images(view: RunView) -> None:
    """A warning if the images of the run cannot be shown."""
    try:
        run_cache.data_of(view.run)
    except StoreError as error:
        st.warning(
            f"{escaping.lines(error)}. The numbers are all here.",
            icon=":material/image_not_supported:",
        )


def samples_shown(view: RunView, sample: int) -> dict[str, Sample]:
    """The sample and, if chosen, a second one; by the suffix of the keys of what is drawn of it."""
    shown, other = {"": Sample(view, sample)}, get("beside")
    if other is not None:
        shown["-beside"] = Sample(view, min(other, view.n - 1))
    return shown


def cards(shown: dict[str, Sample], sample: int, n: int) -> None:
    """The card of the sample, or those of two samples next to each other. n: of the run."""
    if len(shown) == 1:
        card.show(shown[""])
        return
    left, right = st.columns(2, gap="large")
    with left:
        st.number_input("First sample", value=sample, width=160, key="first", disabled=True)
        card.show(shown[""], narrow=True)
    with right:
        other = shown["-beside"].index
        if other != get("beside"):
            st.warning(f"beside = {get('beside')}: allowed is 0 to {n - 1}")
        st.number_input("Second sample", 0, n - 1, width=160, **bound("beside", shown=other))
        card.show(shown["-beside"], narrow=True, key="-beside")


def second_sample_button(sample: int, n: int) -> None:
    """A button that shows a second sample, or hides it."""
    if get("beside") is None:
        st.button(
            "Second sample",
            icon=":material/splitscreen_right:",
            on_click=put,
            kwargs={"beside": (sample + 1) % n},
            help="Two samples side by side",
        )
    else:
        st.button("One sample", icon=":material/close:", on_click=put, kwargs={"beside": None})


main()
