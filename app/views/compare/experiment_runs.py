"""The runs of an experiment on this server: start what is missing, watch, stop."""

import functools

import streamlit as st

from app.components import live_updates, page, run_names, seeds, text
from app.server import escaping
from app.server.experiments import SHIPPED, Job, experiments
from app.server.run_info import RunsError
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state.url_state import put
from engine.config import RunConfig
from engine.errors import EngineError
from engine.experiments import stored
from engine.runs.progress import is_done

MOST_SEEDS = 5
DATASET = "digits"
UPDATE_SECONDS = 2.0


def show(name: str) -> None:
    """The progress of the experiment if it is live, else the button that starts it."""
    job = experiments().job(name)
    if job is not None and job.live:
        watch(job)
        return
    if job is not None and job.state == "failed":
        st.error(escaping.lines(job.message), icon=":material/error:")
    if not runs().sees_results(DATASET):
        st.caption("All runs of this server are private: only its teacher starts experiments.")
    elif not experiments().may_start(name, DATASET, visitor()):
        st.caption(
            "Another visitor measured this experiment on this server: only they and the teacher "
            "may replace its result."
        )
    else:
        offer(name)


def offer(name: str) -> None:
    """The number of seeds, and the button, with what it will do."""
    with st.container(horizontal=True, vertical_alignment="center"):
        begin = st.container(width="content")
        n_seeds = st.slider("Seeds", 1, MOST_SEEDS, MOST_SEEDS, key="experiment-seeds", width=200)
        try:
            plan = planned(name, n_seeds)
        except EngineError as error:  # a library is missing
            st.warning(escaping.lines(error))
            plan = ()
        else:
            st.markdown(_what_starts(name, plan, found(plan)), width="stretch")
        begin.button(
            "Start",
            type="primary",
            icon=":material/play_arrow:",
            key="start-experiment",
            disabled=not plan,
            help="One request in the queue. Runs that exist are not trained again; when all are "
            "done, the results are written to the folder of the runs and shown here.",
            on_click=page.guarded(start),
            args=(name, n_seeds),
        )


@functools.lru_cache(maxsize=64)
def planned(name: str, n_seeds: int) -> tuple[tuple[str, RunConfig], ...]:
    """The runs on digits, with the names that sweeps give them. Raises ConfigError."""
    from engine.experiments.base import plan
    from engine.experiments.registry import configs_of
    from engine.runs.naming import run_name

    configs = configs_of(name, plan("quick", range(n_seeds), dataset=DATASET), ())
    return tuple({run_name(config): config for config in configs}.items())


def found(plan: tuple[tuple[str, RunConfig], ...]) -> list[str | None]:
    """The run of each of the settings, done or in the queue: of this server, else None."""
    return seeds.found([config for _, config in plan], run_names.rows())


def _ready(run: str) -> bool:
    """Whether the command line has trained a run, and the visitor may see it."""
    folder = experiments().cli_runs / run
    try:
        return is_done(folder) and runs().sees_folder(folder)
    except EngineError:  # of another format, or damaged
        return False


def _what_starts(name: str, plan: tuple, existing: list[str | None]) -> str:
    """How many runs Start trains, how long that takes, and what it replaces."""
    missing = sum(
        not run and not _ready(sweeps) for (sweeps, _), run in zip(plan, existing, strict=True)
    )
    known = len(plan) - missing
    if not missing:
        words = f"All {known} runs are done or in the queue: **Start** evaluates them."
    else:
        words = f"**Start** trains {text.count(missing, 'run')} on {DATASET}"
        words += f", {known} of {len(plan)} are done or in the queue" if known else ""
        words += _duration(name, missing)
    try:
        before = stored.read(experiments().results, f"{name}-{DATASET}")
    except EngineError:
        return words
    n = text.count(len(before.seeds), "seed")
    return f"{words} Their results replace those of this server, of {n}."


def _duration(name: str, n: int) -> str:
    """The rest of a sentence: how long n runs take, by the shipped results."""
    try:
        each = stored.read(SHIPPED, f"{name}-{DATASET}").seconds_a_run
    except EngineError:
        each = None
    if each is None:
        return "."
    return (
        f": about {text.minutes(n * each / runs().slots)} if nothing else trains "
        f"({each:.0f} s a run on two cores), then the evaluation."
    )


def start(name: str, n_seeds: int) -> None:
    """Queue the runs that are missing as one request, and follow them. Raises RunsError."""
    if not experiments().may_start(name, DATASET, visitor()):  # meanwhile
        raise RunsError(f"another visitor has measured the experiment {name}: reload the page")
    plan = planned(name, n_seeds)
    known = dict(zip(dict(plan), found(plan), strict=True))
    ready = {run: experiments().cli_runs / run for run in known if not known[run] and _ready(run)}
    missing = [config for run, config in plan if not known[run] and run not in ready]
    group = ""
    if missing:
        new = iter(names := runs().submit_together(missing, visitor=visitor()))
        group = runs().info(names[0]).group
        known = {run: known[run] or (None if run in ready else next(new)) for run in known}
    of_server = {run: own for run, own in known.items() if own is not None}
    job = Job(name, tuple(range(n_seeds)), visitor().id, group, of_server, ready)
    experiments().start(job)
    put(result=f"server/{name}-{DATASET}")


def watch(job: Job) -> None:
    """Progress of the runs, the one that trains, and the button that stops all."""
    state = job.state

    def changed() -> str | None:
        return "app" if job.state != state else None

    left, right = st.columns([8, 1], vertical_alignment="center")
    right.button(
        "Stop",
        icon=":material/stop:",
        key="stop-experiment",
        disabled=not experiments().may_stop(job, visitor()),
        help="Runs that are done are kept; Start continues with the others.",
        on_click=page.guarded(stop),
        args=(job,),
    )
    with left:
        live_updates.poll("experiment", changed, every=UPDATE_SECONDS, draw=lambda: progress(job))


def stop(job: Job) -> None:
    """Stop an experiment. Raises RunsError if another visitor started it."""
    experiments().stop(job.experiment, visitor())
    put(result=None)


def progress(job: Job) -> None:
    """How many runs are done, which one trains; or that they are evaluated."""
    n = text.count(len(job.seeds), "seed")
    if job.state == "evaluating":
        st.progress(1.0, f"All {job.n_runs} runs of {n} are done: they are evaluated now.")
        return
    own = set(job.runs.values())
    begun = [i for i in runs().active() if i.name in own and i.state != "queued"]
    training = [info for info in begun if info.state == "running"]
    labels = run_names.labels() if training else {}
    names = ", ".join(labels.get(info.name, info.name) for info in training)
    done = job.n_done + sum(info.epoch / max(info.n_epochs, 1) for info in begun)
    st.progress(
        min(done / max(job.n_runs, 1), 1.0),
        f"{job.n_done} of {job.n_runs} runs of {n} are done{text.time_left(job.seconds_left)}. "
        + (f"Training: {escaping.markdown(names)}" if names else "The next one starts soon."),
    )
