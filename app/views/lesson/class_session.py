"""What the visitors of a lesson share: its runs, and the answers of a class."""

from collections.abc import Callable
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import streamlit as st

from app.components import figures, live_updates, page, run_picker
from app.components.text import time_left
from app.server import class_answers, escaping
from app.server.run_info import RunInfo
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state.url_state import get, link
from app.views.lesson.steps import PERCENT, RUN_WORDS, STEPS, Step, settings
from engine.analysis.lesson_explanations import Explanation
from engine.charts import lesson as charts
from engine.config import RunConfig

ANSWERS, ERROR = "lesson.mine", "lesson.trouble"  # of the session
SKIPPED = ""  # the answer to a step that was skipped


# --- one's own answers


def answers() -> dict[int, str]:
    """The visitor's answers: step -> answer; with a class code they survive a reload."""
    mine = st.session_state.setdefault(ANSWERS, {})
    code = get("class_code")
    if code is None or mine.get("of") == code:
        return {step: answer for step, answer in mine.items() if step != "of"}
    stored = class_answers.mine(runs().root, code, class_answers.token(code, visitor().id))
    stored = {n: a for n, a in stored.items() if 1 <= n <= len(STEPS) and STEPS[n - 1].takes(a)}
    st.session_state[ANSWERS] = {"of": code} | stored
    return stored


def submit(step: Step, key: str | None = None) -> None:
    """Record an answer, count it for the class, and start the runs of the step.

    key: of the widget with the answer; None: the step is skipped.
    """
    answer = SKIPPED if key is None else str(st.session_state[key])
    _store(answers() | {step.number: answer})
    code = get("class_code")
    if code and answer != SKIPPED:
        attempt(
            lambda: class_answers.record(
                runs().root, code, step.number, answer, class_answers.token(code, visitor().id)
            )
        )
    attempt(lambda: start(step))


def withdraw(step: Step) -> None:
    """Withdraw an answer, to give another one; the class still counts it until then."""
    _store({number: answer for number, answer in answers().items() if number != step.number})


def _store(mine: dict[int, str]) -> None:
    code = get("class_code")
    st.session_state[ANSWERS] = mine | ({"of": code} if code else {})


def attempt(action: Callable[[], None]) -> None:
    """Run an action of a callback; its error is shown on the page."""
    try:
        action()
    except Exception as error:
        st.session_state[ERROR] = error


def show_error() -> None:
    """The error of a callback, shown once."""
    error = st.session_state.pop(ERROR, None)
    if error is not None:
        page.explain(error)


def start(step: Step) -> None:
    """Queue the runs of a step that do not exist yet."""
    for name in step.runs:
        runs().share(config_of(name))


def config_of(name: str) -> RunConfig:
    """The settings of one of the lesson's runs, with the selected noise rate and seed."""
    return settings(name, rate=get("lesson_rate"), seed=get("lesson_seed"))


# --- the runs of a step


def finished_runs(step: Step) -> dict[str, str] | None:
    """The names of a step's runs once all are done; until then None, and the page says why."""
    infos = shared_runs(step)
    existing = {name: info for name, info in infos.items() if info is not None}
    if len(existing) == len(infos):
        if all(info.state == "done" for info in existing.values()):
            return {name: info.name for name, info in existing.items()}
        if all(info.active or info.state == "done" for info in existing.values()):
            progress(step)
            return None
    missing(step, infos)
    return None


def shared_runs(step: Step) -> dict[str, RunInfo | None]:
    """The runs of a step that all visitors share; None for those that do not exist."""
    return {name: runs().shared(config_of(name)) for name in step.runs}


def missing(step: Step, infos: dict[str, RunInfo | None]) -> None:
    """A run does not exist yet, or failed: say so, and start it on a click."""
    for name, info in infos.items():
        if info is not None and info.state in ("failed", "broken"):
            st.error(
                f"The run of {RUN_WORDS[name]} is {info.state}: {escaping.lines(info.message)}"
            )
        elif info is not None and info.state in ("stopped", "interrupted"):
            st.warning(f"The run of {RUN_WORDS[name]} was {info.state} before its end.")
    n = sum(info is None or info.state != "done" for info in infos.values())
    if len(infos) == 1:
        st.info("This step shows a run that is still missing. It takes seconds.")
    else:
        st.info(f"This step shows {len(infos)} runs; {n} still missing. Each takes seconds.")
    st.button(
        "Train now",
        type="primary",
        icon=":material/play_arrow:",
        key="lesson-train",
        on_click=lambda: attempt(lambda: start(step)),
    )


def progress(step: Step) -> None:
    """The progress of the runs, until all of them have ended."""

    def changed() -> str | None:
        infos = shared_runs(step).values()
        return None if any(info is not None and info.active for info in infos) else "app"

    @page.guarded
    def lines() -> None:
        infos = shared_runs(step)
        networks = "The network trains" if len(infos) == 1 else "The networks train"
        run = "run" if len(infos) == 1 else "runs"
        st.markdown(f"{networks} now. Everybody in this lesson sees the same {run}.")
        for name, info in infos.items():
            if info is not None:
                runs().mark_watched(info.name)
                progress_line(RUN_WORDS[name], info)

    live_updates.poll("lesson-runs", changed, every=1.0, draw=lines)


def progress_line(words: str, info: RunInfo) -> None:
    """A progress bar of one run; words: what it trains."""
    done = info.epoch / max(info.n_epochs, 1)
    if info.state == "queued":
        st.progress(0.0, f"◷ {words}: waiting, number {info.position} in the queue")
    elif info.state == "running":
        left = time_left(info.seconds_left)
        st.progress(done, f"▶ {words}: epoch {info.epoch} of {info.n_epochs}{left}")
    elif info.state == "done":
        st.progress(1.0, f"✓ {words}: ready")
    else:
        st.progress(done, f"{run_picker.SYMBOLS[info.state]} {words}: {info.state}")


# --- the class


def class_bars(step: Step, finding: Explanation) -> None:
    """The answers of the class, updated while the page is open."""
    code = get("class_code")
    if code is None:
        return

    def count() -> dict[str, int]:
        return class_answers.counts(runs().root, code, step.number)

    @st.fragment(key="class-bars")
    @page.guarded
    def bars() -> None:
        with live_updates.turn():
            counts = count()
            answer_chart(step, finding, counts)
            live_updates.poll(
                "class-answers", lambda: None if count() == counts else "class-bars", every=3.0
            )

    bars()


def answer_chart(step: Step, finding: Explanation, answer_counts: dict[str, int]) -> None:
    """Bars: how many gave each answer. answer_counts: answer -> how many."""
    valid = {answer: n for answer, n in answer_counts.items() if step.takes(answer)}
    if not valid:
        st.caption("No answers of this class yet.")
        return
    words, counts, right = bars_of(step, finding, valid)
    st.markdown(f"**{sum(counts)} answers of class {get('class_code')}**")
    figures.show(
        charts.answer_bars(words, counts, right),
        f"answers-{step.number}",
        alt="Bars: " + "; ".join(f"{w}: {n}" for w, n in zip(words, counts, strict=True)),
        data=pd.DataFrame({"answer": words, "count": counts, "came_out": right}),
    )


def bars_of(
    step: Step, finding: Explanation, answer_counts: dict[str, int]
) -> tuple[list[str], list[int], list[bool]]:
    """Words, counts and whether it is the outcome, one entry per bar; percentages in tens."""
    if step.kind == PERCENT:
        tens = [min(int(answer) // 10, 9) for answer, n in answer_counts.items() for _ in range(n)]
        counts = np.bincount(tens, minlength=10)
        outcome = min(int(finding.outcome) // 10, 9)
        rows = range(max(min([*tens, outcome]) - 1, 0), 10)
        words = [f"{10 * i} to {10 * i + (10 if i == 9 else 9)} %" for i in rows]
        return words, [int(counts[i]) for i in rows], [i == outcome for i in rows]
    words = [text.split(":")[0] for text in step.options.values()]
    return (
        words,
        [answer_counts.get(key, 0) for key in step.options],
        [finding.is_correct(key) for key in step.options],
    )


def for_teachers(step: Step) -> None:
    """A link for a class, and its answers."""
    with st.expander("For teachers", icon=":material/school:"):
        st.markdown(
            "A link for your class: it hides the controls and the other pages, fixes noise rate "
            "and seed as set here, and counts the answers of those who open it, without names."
        )
        left, right = st.columns(2)
        text = left.text_input(
            "Class code",
            value=get("class_code") or "",
            key="lesson-code",
            max_chars=24,
            placeholder="7b",
            help="It separates the answers of two classes.",
        )
        first = right.selectbox(
            "Opens at",
            [s.number for s in STEPS],
            index=step.number - 1,
            key="lesson-opens",
            format_func=lambda number: f"{number}. {STEPS[number - 1].title}",
        )
        try:
            code = class_answers.class_code(text) if text.strip() else None
        except class_answers.AnswersError as error:
            st.error(escaping.lines(error))
            return
        st.code(teachers_link(code, first), language=None, wrap_lines=True)
        if code is None:
            st.caption("Without a class code no answers are collected.")
        else:
            teachers_answers(code)


def teachers_link(code: str | None, step: int) -> str:
    """The address of the lesson with the class code and settings, opened at a step."""
    values = link(guide=True, class_code=code, lesson=step)
    wanted = ("guide", "class_code", "lesson", "lesson_rate", "lesson_seed")
    address = (st.context.url or "").partition("?")[0]
    return f"{address}?{urlencode({name: values[name] for name in wanted if name in values})}"


def teachers_answers(code: str) -> None:
    """The answers of the class so far, and a button to clear them; for the teacher only."""
    if not visitor().teacher:
        st.caption("To see or clear answers without answering, enter the passcode on Runs.")
        return
    root = runs().root
    table = [
        {"step": f"{s.number}. {s.title}", "answer": s.words_of(answer), "count": n}
        for s in STEPS
        for answer, n in sorted(class_answers.counts(root, code, s.number).items())
        if s.takes(answer)
    ]
    if not table:
        st.caption("No answers of this class yet.")
        return
    st.dataframe(pd.DataFrame(table), hide_index=True)
    st.button(
        f"Clear the answers of {code}",
        icon=":material/delete:",
        key="lesson-clear",
        on_click=lambda: attempt(lambda: class_answers.clear(root, code)),
    )
