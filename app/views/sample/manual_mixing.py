"""Mix by hand: own weights and K, the mixed image, and what the network says of it."""

import numpy as np
import streamlit as st

from app.components import figures, page
from app.server import escaping, run_cache
from app.server.run_view import RunView
from app.state.url_state import get, put
from app.views.sample import card, equation
from app.views.sample.sample import Sample, images
from engine.analysis import sample_history
from engine.charts import sample as charts
from engine.errors import StoreError

K_SLIDER = "w-mix-k"
MOST = 7  # neighbors offered; more where the epoch itself used more


@st.fragment
@page.guarded
def mix_by_hand(name: str, row: int, index: int) -> None:
    """Sliders for K and the weights; the mixed image and the network's word follow at once."""
    of = Sample(RunView(name, row), index)
    st.subheader("Mix by hand", anchor=False)
    st.markdown(
        "What if the neighbors weighed more, or less? Move a slider: the weights are made to add "
        "up to 100 %, the image is mixed, and the network is asked."
    )
    if images(of.view, np.array([index])) is None:
        st.info("The images are gone, so there is nothing to mix.")
        return
    trained = sample_history.training_mix(of.run, of.records, row, index)
    offered = _candidates(of, trained)
    if len(offered.parts) < 2:
        st.info(
            "There is nothing to mix with: this epoch used no neighbors, this sample is not in the "
            "panel whose features are kept, and the network that could describe it is not kept."
        )
        return
    mix = chosen(of, offered, trained)
    pixels = of.view.pixels(mix.parts)
    mix = _controls(of, offered, mix, trained, pixels)
    _answer(of, mix, pixels[: len(mix.parts)])


def chosen(
    of: Sample, offered: sample_history.Mix, trained: sample_history.Mix
) -> sample_history.Mix:
    """The mix by the visitor's weights; without any the epoch's own, or that of MixNN's rule."""
    raw = get("mix")
    if raw is not None:
        return offered.reweighted(np.array(raw[: len(offered.parts)], float))
    if trained.kind == "neighbors":
        return trained
    return offered.nearest(min(of.run.config.k, len(offered.parts) - 1))


def _candidates(of: Sample, trained: sample_history.Mix) -> sample_history.Mix:
    most = max(MOST, len(trained.parts) - 1)
    features = None
    earlier = of.records[max(of.row - 1, 0)]["epoch"]
    if of.index not in of.run.labels["panel"] and earlier in of.run.kept_states():
        pixels = of.view.pixels([of.index])
        features = run_cache.network(of.name, earlier).predict_proba(_batch(pixels))[1][0]
    return sample_history.mixing_candidates(of.run, of.records, of.row, of.index, most, features)


def _controls(
    of: Sample,
    offered: sample_history.Mix,
    mix: sample_history.Mix,
    trained: sample_history.Mix,
    pixels: np.ndarray,
) -> sample_history.Mix:
    """K, a slider below each image, and the way back."""
    k = len(mix.parts) - 1
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.session_state[K_SLIDER] = k
        st.slider(
            "K, neighbors mixed in",
            0,
            len(offered.parts) - 1,
            key=K_SLIDER,
            width=320,
            help="A new K starts from the weights that MixNN's rule gives",
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
    raw = get("mix") or _whole(mix.weights)
    keys = [f"w-mix-{i}" for i in range(k + 1)]
    for key, value in zip(keys, raw, strict=False):
        st.session_state[key] = value

    def take() -> None:
        put(mix=tuple(st.session_state[key] for key in keys))

    with st.container(horizontal=True, gap="small"):
        for i, key in enumerate(keys):
            with st.container(width=158):
                cell = equation.part(of, mix, i, pixels[i], size=84, sign=False)
                st.html(f'<div class="equation by-hand">{cell}</div>')
                what = "the sample itself" if i == 0 else f"sample {mix.parts[i]}"
                st.slider(
                    f"Weight of {what}",
                    0,
                    100,
                    key=key,
                    on_change=take,
                    label_visibility="collapsed",
                )
    n_own = len(trained.parts) - 1 if trained.kind == "neighbors" else 0
    if k > n_own:
        used = f"The first {n_own} are the epoch's own; the others" if n_own else "These neighbors"
        st.caption(
            f"{used} are the nearest among the {len(of.run.labels['panel']):,} samples of "
            "the panel, whose features the run keeps."
        )
    if get("mix") is not None and not any(raw):
        st.caption("All weights are 0: the sample keeps itself.")
    return mix


def _answer(of: Sample, mix: sample_history.Mix, pixels: np.ndarray) -> None:
    """The mixed image and what the network says of it, beside what it says of the plain one."""
    mixed = sample_history.mixed_image(pixels, mix.weights)
    left, right = st.columns([1, 1.6], gap="large")
    with left:
        st.html(
            '<div class="equation">'
            + equation.figure(
                "", equation.picture(pixels[0], "the plain image", 150), "", "plain image"
            )
            + equation.figure(
                "", equation.picture(mixed, "the image mixed by hand", 150), "", "mixed image"
            )
            + "</div>"
        )
    try:
        network = run_cache.network(of.name, of.epoch)
    except StoreError as error:
        st.info(escaping.lines(error))
        return
    said, _ = network.predict_proba(_batch(np.stack([pixels[0], mixed])))
    with left:
        label = mix.label
        st.markdown(
            f"The network says of the plain image **{_top(of, said[0])}**, of the mixed image "
            f"**{_top(of, said[1])}**. The mixed label is **{_top(of, label)}**."
        )
        if network.epoch != of.epoch:
            st.info(
                f"The network of epoch {of.epoch} is not kept: this is the one of epoch "
                f"{network.epoch}, the nearest that is."
            )
    shares = {"plain image": said[0], "mixed image": said[1], "mixed label": label}
    with right:
        figures.show(
            charts.label_bars(of.classes, shares, card.notes(of)),
            f"{of.name}-by-hand-{of.index}-epoch-{of.epoch}",
            key="bars-by-hand",
            alt=f"Bars. The network says of the plain image {_top(of, said[0])}, of the mixed one "
            f"{_top(of, said[1])}.",
        )


def _top(of: Sample, shares: np.ndarray) -> str:
    return f"{escaping.markdown(of.classes[shares.argmax()])} ({shares.max():.0%})".replace(
        "%", " %"
    )


def _whole(weights: np.ndarray) -> tuple[int, ...]:
    """Weights as the sliders have them, whole numbers up to 100."""
    return tuple(np.rint(100 * weights).astype(int).tolist())


def _batch(pixels: np.ndarray) -> np.ndarray:
    """Images (B, H, W, C) as the network takes them, (B, C, H, W) float32."""
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 1), np.float32)
