"""Train: what is happening now?"""

import streamlit as st

from app.components import figures, live_updates, page, run_picker, settings_form, sharing, text
from app.server import escaping, run_cache
from app.server.run_info import RunInfo
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state.url_state import bound, get, put
from app.views.train.live_charts import PICTURES, STAGES, drawings, suffering
from engine.config import RunConfig, configure
from engine.noise.class_dependent import WITHOUT_RATE
from engine.runs.records import epochs_file

QUICK_LOOK = 1.4  # seconds between two looks at a run that trains; each look costs the training


def start(config: RunConfig) -> None:
    """Queue a run and look at it."""
    put(run=runs().submit(config, visitor=visitor()), epoch=None, sample=None, lasso=None)


def controls(where: RunInfo) -> None:
    """Start, pause, step, resume and stop."""
    me, name = visitor(), where.name
    mine = runs().may_control(name, me)
    why = None if mine else "This run belongs to another visitor"

    def button(label: str, icon: str, wish, *, key: str, help: str, off: bool = False) -> None:
        st.button(
            label,
            icon=f":material/{icon}:",
            key=key,
            on_click=page.guarded(wish),
            args=(name, me),
            disabled=off or not mine,
            help=why or help,
        )

    if where.active:
        if where.state == "paused":
            button("Go on", "play_arrow", runs().go_on, key="go-on", help="Train on")
        else:
            button(
                "Pause",
                "pause",
                runs().pause,
                key="pause",
                help="Stand still after this batch",
                off=where.state == "queued",
            )
        button(
            "Step",
            "skip_next",
            runs().step,
            key="step",
            help="Train one epoch, then pause",
            off=where.state == "queued",
        )
        button(
            "Stop",
            "stop",
            runs().stop,
            key="stop",
            help="End after the last whole epoch; it can be resumed",
        )
        st.toggle(
            "Keep going without me",
            where.pinned,
            key=f"pin-{name}",
            disabled=not mine,
            on_change=lambda: runs().pin(name, me, st.session_state[f"pin-{name}"]),
            help="A run that nobody watches is stopped after a while. This one goes on.",
        )
    elif where.state in ("stopped", "interrupted", "failed"):
        button(
            "Resume", "resume", runs().resume, key="resume", help="Go on after its last whole epoch"
        )


def progress(where: RunInfo) -> None:
    """How far it is, or how it ended."""
    if where.state == "queued":
        before = where.position - 1
        ahead = "It is the next one" if not before else f"{before} others are before it"
        st.info(f"Waiting for a free place: {ahead}.", icon=":material/hourglass:")
    elif where.active:
        share = where.batch / where.n_batches if where.n_batches else 0
        st.progress(
            min((where.epoch + share) / max(where.n_epochs, 1), 1.0),
            f"Epoch {where.epoch} of {where.n_epochs - 1} · {where.stage}"
            + text.time_left(where.seconds_left),
        )
    elif where.state == "failed":
        st.error(f"This run failed: {escaping.lines(where.message)}", icon=":material/error:")
    elif where.message:
        st.warning(escaping.lines(where.message))


def live_knobs(where: RunInfo, config: RunConfig, latest: dict, cells: list) -> None:
    """K and alpha, while it trains; they act at the next epoch."""
    name, me = where.name, visitor()

    def change(knob: str) -> None:
        runs().change(name, me, **{knob: st.session_state[f"live-{knob}-{name}"]})

    off = not runs().may_control(name, me)
    if config.mixing == "neighbors":
        cells[0].slider(
            "K from the next epoch on",
            1,
            min(20, run_cache.run(name).info["k_max"]),
            latest["k"],
            key=f"live-k-{name}",
            disabled=off,
            help=page.word("K"),
            on_change=page.guarded(change),
            args=("k",),
        )
    if config.correction != "none":
        cells[1].slider(
            "Alpha from the next epoch on",
            0.0,
            1.0,
            latest["alpha"],
            0.01,
            key=f"live-alpha-{name}",
            disabled=off,
            help=page.word("alpha"),
            on_change=page.guarded(change),
            args=("alpha",),
        )


def numbers(name: str, records: list[dict], cells: list) -> None:
    """The latest epoch in four numbers."""
    last = records[-1]["metrics"]
    info = run_cache.run(name).info
    asked = info["rate_requested"]
    shown = [
        ("Test accuracy", last.get("test_accuracy"), "test accuracy"),
        ("Labels right now", last.get("label_accuracy"), "label recovery"),
        ("Wrong labels learned", last.get("memorized"), "memorization"),
    ]
    for cell, (label, value, word) in zip(cells, shown, strict=False):
        cell.metric(label, text.percent(value), help=page.word(word))
    actual = info["rate_actual"]
    spoiled = "unknown" if actual is None else f"{100 * actual:.1f} / {100 * asked:g} %"
    cells[3].metric("Wrong / asked for", spoiled, help=page.word("noise rate"))


def pictures(name: str, records: list[dict]) -> None:
    """The live curves and where the time went."""
    pictures_now = drawings(name, run_cache.run(name).info["created"], len(records))
    cells = [*st.columns(2), *st.columns(2)]
    for cell, (title, (series, note)) in zip(cells, PICTURES.items(), strict=False):
        with cell.container(border=True):
            st.markdown(f"**{title}** {note}")
            if title in pictures_now:
                st.vega_lite_chart(
                    *pictures_now[title],
                    key=f"live-{title.split()[0].lower()}",
                    alt=f"{title} Curves over the epochs: {', '.join(series.values())}",
                )
            else:
                st.caption("This needs the true labels, which are not known here.")
    with cells[3].container(border=True):
        st.markdown(f"**{STAGES}** Seconds of each epoch by stage.")
        st.vega_lite_chart(
            *pictures_now[STAGES],
            key="live-stages",
            alt="Stacked bars: seconds of each stage of each epoch",
        )
    figures.save_csv(f"{name}-curves", lambda: table(records))


def told(name: str, records: list[dict]) -> None:
    """What the run suffers from, if it does: what is seen, and what to try."""
    for sign in suffering(name, run_cache.run(name).info["created"], len(records)):
        st.warning(
            f"**{sign.name}.** {sign.evidence} **Try:** {sign.advice}", icon=":material/healing:"
        )


def table(records: list[dict]):
    """All that the records say, a row an epoch."""
    import pandas as pd

    return pd.json_normalize(
        [{k: r[k] for k in ("epoch", "phase", "settings", "metrics", "seconds")} for r in records]
    )


def watch(name: str) -> None:
    """The chosen run, drawn again after each epoch while it is active."""

    @st.fragment(key="watch")
    @page.guarded
    def view() -> None:
        with live_updates.turn():
            draw(name)

    view()


def n_records(name: str) -> int:
    there = epochs_file(runs().folder(name)).exists()
    return len(run_cache.records(name)) if there else 0


def draw(name: str) -> None:
    where = runs().info(name)
    runs().mark_watched(name)
    drawn = n_records(name)
    with st.container(horizontal=True, vertical_alignment="center", key="run-controls"):
        st.selectbox("Run shown", runs().names(), label_visibility="collapsed", **bound("run"))
        if get("run") != name:
            st.rerun()
        run_picker.state_badge(where)
        controls(where)
        sharing.share(name)
    bar = st.container()
    if where.state != "broken" and drawn:
        records = run_cache.records(name)
        config = run_cache.run(name).config
        cells = st.columns([1, 1, 1, 1, 1.3, 1.3] if where.active else 4)
        numbers(name, records, cells[:4])
        if where.active:
            live_knobs(where, config, records[-1]["settings"], cells[4:])
        told(name, records)
        pictures(name, records)

    def changed() -> str | None:
        runs().mark_watched(name)
        now = runs().info(name)
        if not now.active:
            return "app"  # it has ended: other widgets below
        return "watch" if now.state != where.state or n_records(name) != drawn else None

    with bar:  # last, so that the browser asks again when it has everything
        if where.active:
            look = page.guarded(lambda: progress(runs().info(name)))
            live_updates.poll("look", changed, every=QUICK_LOOK, draw=look)
        else:
            progress(where)


def another(name: str) -> None:
    """The same with another noise, K or method: a new run beside it, or a fork.

    Not for a private run that was shared: its data are the owner's.
    """
    if runs().private(name) and not runs().may_control(name, visitor()):
        return
    run = run_cache.run(name)
    config, kept = run.config, run.checkpoints()
    with st.expander("Change the noise rate or the method: a new run beside it, or a fork"):
        st.markdown(
            "A **new run** starts from scratch. A **fork** goes on from this run's network after "
            "an epoch, so that you see what one change does from there."
        )
        row = st.columns(4, gap="medium", vertical_alignment="bottom")
        knobs = {}
        if config.noise not in WITHOUT_RATE:
            knobs["rate"] = row[0].slider(
                "Noise rate", 0.0, 1.0, config.rate, 0.05, key=f"other-rate-{name}"
            )
        methods = list(settings_form.METHODS)
        method = config.method if config.method in methods else methods[0]
        knobs["method"] = row[1].selectbox(
            "Method", methods, methods.index(method), key=f"other-method-{name}"
        )
        with row[2]:
            if st.button("New run beside it", key="beside", width="stretch"):
                made = settings_form.METHODS[knobs["method"]]
                made = {k: made[k] for k in ("mixing", "loss", "correction")}
                start(config.changed(**made | {k: v for k, v in knobs.items() if k == "rate"}))
                st.rerun()
        with row[3]:
            epochs = kept[:-1]  # after the last one nothing is left to train
            if len(epochs) > 1:
                middle = epochs[len(epochs) // 2]
                epoch = st.select_slider(
                    "Fork after epoch", epochs, middle, key=f"fork-epoch-{name}"
                )
                if st.button("Fork", key="fork", width="stretch"):
                    forked = runs().fork(name, epoch, visitor=visitor(), **knobs)
                    put(run=forked, epoch=None)
                    st.rerun()
            else:
                st.caption("A fork needs an epoch whose network is kept.")


page.head(
    "What is happening now?",
    "We spoil labels on purpose and watch a network learn. It learns right ones first, the wrong "
    "ones later; MixNN uses the time between to repair them.",
    "noisy labels",
    "noise rate",
    "method",
    "early learning",
    "memorization",
    "label recovery",
    "K",
    "alpha",
    "warm-up",
    "correction",
    "P(clean)",
    "AUROC",
    "fork",
    "epoch",
    "seed",
)
chosen = run_picker.chosen_run()
config = None
if not get("guide"):
    with st.container(border=True, key="next-run"):
        bar = st.container(horizontal=True, vertical_alignment="center")
        with bar:
            begin = st.container(width="content")
            words = st.container()
            changing = st.toggle("Settings", key="show-settings", width="content")
        config = settings_form.controls() if changing else settings_form.checked()
        if config is not None:
            words.markdown(f"**Next run** {escaping.lines(settings_form.in_words(config))}")
        with begin:
            if st.button(
                "Start",
                type="primary",
                icon=":material/play_arrow:",
                key="start",
                disabled=config is None,
            ):
                start(config)
                st.rerun()
if chosen is None:
    st.markdown(
        "**Start** trains MixNN on 1,437 handwritten digits; it takes about ten seconds."
        if config in (None, configure())
        else "**Start** trains with the settings that stand beside it; each epoch is shown here."
    )
else:
    if get("run") != chosen:
        put(run=chosen)
    where = runs().info(chosen)
    watch(chosen)
    if where.state != "broken" and (runs().folder(chosen) / "config.json").exists():
        another(chosen)
