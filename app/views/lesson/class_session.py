"""A visitor in the lesson: the class it has joined, its answers, and the runs that all share."""

from collections.abc import Callable

import streamlit as st

from app.components import page
from app.components.page import word
from app.server import class_answers, classes, escaping
from app.server.class_answers import AGAIN, AnswersError
from app.server.classes import Class, NoClassError, doorkeeper
from app.server.run_info import RunInfo
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state.url_state import bound, get, put
from app.views.lesson import waiting
from app.views.lesson.findings import finding as finding_of
from app.views.lesson.steps import RATES, RUN_WORDS, SEEDS, STEPS, Step, settings
from engine.analysis.lesson_explanations import Explanation
from engine.config import RunConfig

ANSWERS, ERROR = "lesson.mine", "lesson.trouble"  # of the session
WRONG = "lesson.wrong"  # of the session: a code that no class has, and the error
JOINED, REOPENED = "lesson.class", "lesson.again"  # the code it has joined; a step asked again
SKIPPED = ""  # the answer to a step that was skipped


# --- the class


def current() -> Class | None:
    """The class of the address; None without one, or if its code is wrong, which the page says."""
    code = get("class_code")
    if code is None:
        return None
    if st.session_state.get(JOINED) == code and (one := classes.find(runs().root, code)):
        return one
    wrong = st.session_state.get(WRONG)
    try:
        if wrong is not None and wrong[0] == code:  # one link is one try, however often it is drawn
            raise wrong[1]
        one = doorkeeper().find(runs().root, code, visitor())
    except AnswersError as error:
        if isinstance(error, NoClassError):
            st.session_state[WRONG] = code, error
        page.explain(error)
        return None
    st.session_state[JOINED] = code
    return one


def join() -> None:
    """A field for the code of a class, for those who did not open its link."""

    def send() -> None:
        if text := st.session_state["lesson-code"].strip():
            attempt(lambda: enter(text))

    with st.form("lesson-join", border=False):
        st.text_input(
            "Class code", key="lesson-code", max_chars=24, placeholder="from your teacher"
        )
        st.form_submit_button("Join the class", icon=":material/login:", on_click=send)


def enter(text: str) -> None:
    """Join the class of a code. Raises ClassError."""
    one = doorkeeper().find(runs().root, text, visitor())
    st.session_state[JOINED] = one.code
    put(class_code=one.code, guide=True)


def leave() -> None:
    """Leave the class: the lesson continues without it."""
    put(class_code=None, lesson_view=None)


# --- one's own answers


def answers() -> dict[int, str]:
    """The visitor's answers: question -> answer, see `class_answers`; a class stores them."""
    mine = st.session_state.setdefault(ANSWERS, {})
    code = get("class_code")
    if code != st.session_state.get(JOINED):  # it is wrong, or there is none
        code = None
    if mine.get("of") == code:
        return {question: answer for question, answer in mine.items() if question != "of"}
    me = class_answers.token(code, visitor().id)
    stored = class_answers.mine(runs().root, code, me)
    stored = {n: a for n, a in stored.items() if a == SKIPPED or _is_valid(n, a)}
    st.session_state[ANSWERS] = {"of": code} | stored
    return stored


def _is_valid(question: int, answer: str) -> bool:
    number = question % AGAIN
    is_prediction = question < 2 * AGAIN and number
    return not is_prediction or number <= len(STEPS) and STEPS[number - 1].takes(answer)


def submit(step: Step, key: str | None = None) -> None:
    """Record an answer, count it for the class, and start the runs of the step.

    key: of the widget with the answer; None: the step is skipped.
    """
    answer = SKIPPED if key is None else str(st.session_state[key])
    st.session_state.pop(REOPENED, None)
    attempt(lambda: _record(step, answer))
    attempt(lambda: start(step))


def _record(step: Step, answer: str) -> None:
    one = current()
    if one is not None:
        classes.answer(runs().root, one.code, step.number, answer, visitor())
        forget()
    else:  # every prediction is followed by its result: another answer is a second one
        mine = answers()
        question = step.number + AGAIN if step.number in mine else step.number
        st.session_state[ANSWERS] = mine | {question: answer}


def forget() -> None:
    """Read the answers from the class again."""
    st.session_state.pop(ANSWERS, None)


def reopen(step: Step) -> None:
    """Ask a step again; the answer counts as a second one if its result was shown."""
    st.session_state[REOPENED] = step.number


def attempt(action: Callable[[], object]) -> None:
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


# --- the runs of a step


def start(*steps: Step) -> None:
    """Queue the runs of steps that do not exist yet."""
    for name in dict.fromkeys(name for step in steps for name in step.runs):
        runs().share(config_of(name))


def config_of(name: str) -> RunConfig:
    """The settings of one of the lesson's runs, with the noise rate and seed of the class."""
    code = get("class_code")
    one = None if code is None else classes.find(runs().root, code)
    if one is not None:
        return settings(name, rate=one.rate, seed=one.seed)
    return settings(name, rate=get("lesson_rate"), seed=get("lesson_seed"))


def shared_runs(step: Step) -> dict[str, RunInfo | None]:
    """The runs of a step that all visitors share; None for those that do not exist."""
    return {name: runs().shared(config_of(name)) for name in step.runs}


def done_runs(step: Step) -> dict[str, str] | None:
    """The names of a step's runs: kind -> name; None unless all are done."""
    infos = shared_runs(step)
    done = {kind: info.name for kind, info in infos.items() if info and info.state == "done"}
    return done if len(done) == len(infos) else None


def finished_runs(step: Step) -> dict[str, str] | None:
    """The names of a step's runs once all are done; until then None, and the page says why."""
    names = done_runs(step)
    if names is not None:
        return names
    infos = shared_runs(step)
    if all(info is not None and (info.active or info.state == "done") for info in infos.values()):
        waiting.progress(lambda: shared_runs(step))
    else:
        missing(step, infos)
    return None


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


def findings() -> dict[int, Explanation]:
    """The outcomes of the steps whose runs are done."""
    done = {step.number: done_runs(step) for step in STEPS}
    return {number: finding_of(number, names) for number, names in done.items() if names}


def controls() -> None:
    """Noise rate and seed of the lesson's runs, which a class fixes."""
    with st.expander("Other noise, another run", icon=":material/tune:"):
        left, right = st.columns(2)
        left.segmented_control(
            "Noise rate",
            RATES,
            format_func=lambda rate: f"{rate:.0%}",
            required=True,
            help=word("noise rate"),
            **bound("lesson_rate"),
        )
        right.selectbox("Seed", list(SEEDS), help=word("seed"), **bound("lesson_seed"))
