"""Mix by hand: weights and K set by the visitor, the mixed image, and the network's prediction."""

import numpy as np
import streamlit as st

from app.components import figures, page
from app.server import escaping, networks
from app.server.run_view import RunView
from app.state.url_state import get, put
from app.views.sample import equation
from app.views.sample.sample import Sample
from engine.analysis import sample_history
from engine.charts import sample as charts
from engine.errors import StoreError

K_SLIDER = "w-mix-k"
MAX_NEIGHBORS = 7  # offered; more if the epoch itself used more


@st.fragment
@page.guarded
def mix_by_hand(name: str, row: int, index: int) -> None:
    """Sliders for K and the weights; the mixed image and its prediction follow at once."""
    sample = Sample(RunView(name, row), index)
    st.subheader("Mix by hand", anchor=False)
    st.markdown(
        "What if the neighbors weighed more, or less? Move a slider: the weights are normalized to "
        "100 %, the images are mixed, and the network predicts the class of the result."
    )
    if sample.pixels(np.array([index])) is None:
        st.info("The images are missing, so there is nothing to mix.")
        return
    trained = sample_history.training_mix(sample.run, sample.records, row, index)
    offered = _candidates(sample, trained)
    if len(offered.parts) < 2 and (missing := sample.run.not_logged("panel_features")):
        st.info(f"There is nothing to mix with. {escaping.lines(missing)}")
        return
    if len(offered.parts) < 2:
        st.info(
            "There is nothing to mix with: this epoch used no neighbors, this sample is not in the "
            "panel whose features are kept, and the network that could compute its features is "
            "not kept."
        )
        return
    mix = chosen_mix(sample, offered, trained)
    pixels = sample.view.pixels(mix.parts)
    _settings(len(mix.parts) - 1, offered)
    _weight_sliders(sample, mix, pixels)
    _notes(sample, mix, trained)
    _result(sample, mix, pixels[: len(mix.parts)])


def chosen_mix(
    sample: Sample, offered: sample_history.Mix, trained: sample_history.Mix
) -> sample_history.Mix:
    """The mix by the visitor's weights; without any the epoch's own, or that of MixNN's rule."""
    raw = get("mix")
    if raw is not None:
        return offered.reweighted(np.array(raw[: len(offered.parts)], float))
    if trained.kind == "neighbors":
        return trained
    return offered.nearest(min(sample.run.config.k, len(offered.parts) - 1))


def _candidates(sample: Sample, trained: sample_history.Mix) -> sample_history.Mix:
    most = max(MAX_NEIGHBORS, len(trained.parts) - 1)
    features = None
    earlier = sample.records[max(sample.row - 1, 0)]["epoch"]
    if sample.index not in sample.run.labels["panel"] and earlier in sample.run.checkpoints():
        inputs = sample.view.inputs([sample.index])
        features = networks.network(sample.name, earlier).predict_proba(inputs)[1][0]
    return sample_history.mixing_candidates(
        sample.run, sample.records, sample.row, sample.index, most, features
    )


def _settings(k: int, offered: sample_history.Mix) -> None:
    """K, and the button that resets the weights."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.session_state[K_SLIDER] = k
        st.slider(
            "K, neighbors mixed in",
            0,
            len(offered.parts) - 1,
            key=K_SLIDER,
            width=320,
            help="A new K starts from the weights of MixNN's rule",
            on_change=lambda: put(mix=_whole(offered.nearest(st.session_state[K_SLIDER]).weights)),
        )
        st.button(
            "Back to MixNN's weights",
            icon=":material/undo:",
            key="mix-back",
            on_click=put,
            kwargs={"mix": None},
            disabled=get("mix") is None,
        )


def _weight_sliders(sample: Sample, mix: sample_history.Mix, pixels: np.ndarray) -> None:
    """The images of the mix, each with a slider for its weight below."""
    keys = [f"w-mix-{i}" for i in range(len(mix.parts))]
    for key, value in zip(keys, get("mix") or _whole(mix.weights), strict=False):
        st.session_state[key] = value

    def take() -> None:
        put(mix=tuple(st.session_state[key] for key in keys))

    with st.container(horizontal=True, gap="small"):
        for i, key in enumerate(keys):
            with st.container(width=158):
                cell = equation.part(sample, mix, i, pixels[i], size=84, plus=False)
                st.html(f'<div class="equation by-hand">{cell}</div>')
                name = "the sample itself" if i == 0 else f"sample {mix.parts[i]}"
                st.slider(
                    f"Weight of {name}",
                    0,
                    100,
                    key=key,
                    on_change=take,
                    label_visibility="collapsed",
                )


def _notes(sample: Sample, mix: sample_history.Mix, trained: sample_history.Mix) -> None:
    """Captions: where the neighbors come from, and what weights of 0 mean."""
    n_own = len(trained.parts) - 1 if trained.kind == "neighbors" else 0
    if len(mix.parts) - 1 > n_own:
        which = f"The first {n_own} are the epoch's own; the others" if n_own else "These neighbors"
        st.caption(
            f"{which} are the nearest among the {len(sample.run.labels['panel']):,} samples of "
            "the panel, whose features the run keeps."
        )
    if get("mix") is not None and not any(get("mix")):
        st.caption("All weights are 0: the sample keeps itself.")


def _result(sample: Sample, mix: sample_history.Mix, pixels: np.ndarray) -> None:
    """The mixed image and its prediction, next to those of the plain image."""
    mixed = sample_history.mixed_image(pixels, mix.weights)
    left, right = st.columns([1, 1.6], gap="large")
    with left:
        plain_image = equation.image_html(pixels[0], "the plain image", 150)
        mixed_image = equation.image_html(mixed, "the image mixed by hand", 150)
        st.html(
            f'<div class="equation">{equation.term("", plain_image, "", "plain image")}'
            f"{equation.term('', mixed_image, '', 'mixed image')}</div>"
        )
    try:
        network = networks.network(sample.name, sample.epoch)
    except StoreError as error:
        st.info(escaping.lines(error))
        return
    inputs = sample.view.inputs(mix.parts)
    mixed = np.tensordot(mix.weights, inputs, 1).astype(np.float32)
    mixed = np.clip(mixed, inputs.min(0), inputs.max(0))  # rounding may lead beyond all of them
    (plain, of_mixed), _ = network.predict_proba(np.stack([inputs[0], mixed]))
    with left:
        st.markdown(
            f"The network predicts **{_top(sample, plain)}** for the plain image and "
            f"**{_top(sample, of_mixed)}** for the mixed image. The mixed label is "
            f"**{_top(sample, mix.label)}**."
        )
        if network.epoch != sample.epoch:
            st.info(
                f"The network of epoch {sample.epoch} is not kept: this is the one of epoch "
                f"{network.epoch}, the nearest that is."
            )
    shares = {"plain image": plain, "mixed image": of_mixed, "mixed label": mix.label}
    with right:
        figures.show(
            charts.label_bars(sample.classes, shares, sample.class_notes()),
            f"{sample.name}-by-hand-{sample.index}-epoch-{sample.epoch}",
            key="bars-by-hand",
            alt=f"Bars. The network predicts {_top(sample, plain)} for the plain image, "
            f"{_top(sample, of_mixed)} for the mixed one.",
        )


def _top(sample: Sample, shares: np.ndarray) -> str:
    """The largest class and its share, as Markdown: "7 (93 %)"."""
    share = f"{shares.max():.0%}".replace("%", " %")
    return f"{escaping.markdown(sample.classes[shares.argmax()])} ({share})"


def _whole(weights: np.ndarray) -> tuple[int, ...]:
    """Weights as the sliders have them, whole numbers up to 100."""
    return tuple(np.rint(100 * weights).astype(int).tolist())
