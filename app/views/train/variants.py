"""Starting runs: a new one, or a variant of an existing one, from scratch or as a fork."""

from collections.abc import Sequence

import streamlit as st

from app.server import run_cache
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state.url_state import put
from engine.config import METHODS, RunConfig
from engine.noise.class_dependent import WITHOUT_RATE


def start(config: RunConfig) -> None:
    """Queue a run and select it."""
    put(run=runs().submit(config, visitor=visitor()), epoch=None, sample=None, lasso=None)


def variants(name: str) -> None:
    """A form that starts a run with another noise rate or method: from scratch, or as a fork.

    Not for a private run that was shared: its data belong to the owner.
    """
    if runs().private(name) and not runs().may_control(name, visitor()):
        return
    run = run_cache.run(name)
    config, epochs = run.config, run.checkpoints()[:-1]  # after the last one nothing is left
    with st.expander("Start a variant of this run: another noise rate or method"):
        st.markdown(
            "A **new run** starts from scratch. A **fork** continues from this run's network after "
            "an epoch, which isolates the effect of the change."
        )
        row = st.columns(4, gap="medium", vertical_alignment="bottom")
        rate = None
        if config.noise not in WITHOUT_RATE:
            rate = row[0].slider(
                "Noise rate", 0.0, 1.0, config.rate, 0.05, key=f"other-rate-{name}"
            )
        methods = list(METHODS)
        method = row[1].selectbox(
            "Method",
            methods,
            methods.index(config.method) if config.method in methods else 0,
            key=f"other-method-{name}",
        )
        with row[2]:
            if st.button("New run", key="beside", width="stretch"):
                start_variant(config, rate, method)
        with row[3]:
            fork(name, epochs, rate, method)


def start_variant(config: RunConfig, rate: float | None, method: str) -> None:
    """Start a run with the same settings except the noise rate and the method."""
    changes = {} if rate is None else {"rate": rate}
    start(config.varied(method=method, **changes))
    st.rerun()


def fork(name: str, epochs: Sequence[int], rate: float | None, method: str) -> None:
    """Choose the epoch of a fork, and start it. epochs: those with a checkpoint."""
    if len(epochs) <= 1:
        st.caption("A fork needs an epoch with a checkpoint.")
        return
    middle = epochs[len(epochs) // 2]
    epoch = st.select_slider("Fork after epoch", epochs, middle, key=f"fork-epoch-{name}")
    if st.button("Fork", key="fork", width="stretch"):
        changes = {} if rate is None else {"rate": rate}
        forked = runs().fork(name, epoch, visitor=visitor(), method=method, **changes)
        put(run=forked, epoch=None)
        st.rerun()
