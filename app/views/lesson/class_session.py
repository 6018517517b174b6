"""What the visitors of a lesson share: its runs, and the collected answers of a class."""

from collections.abc import Callable
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import streamlit as st

from app.components import figures, live_updates, page, run_picker
from app.components.text import time_left
from app.server import class_answers, escaping
from app.server.run_manager import RunInfo, runs
from app.server.visitors import visitor
from app.state.url_state import get, link
from app.views.lesson.steps import PERCENT, RUN_WORDS, STEPS, Step, settings
from engine.analysis.lesson_explanations import Explanation
from engine.charts import lesson as charts

MINE, TROUBLE = "lesson.mine", "lesson.trouble"
SKIPPED = ""  # kept for a step that was passed without an answer


# --- one's own answers


def answered() -> dict[int, str]:
    """The visitor's answers: step -> answer; with a class code also those before a reload."""
    mine = st.session_state.setdefault(MINE, {})
    code = get("class_code")
    if code is None or mine.get("of") == code:
        return {step: answer for step, answer in mine.items() if step != "of"}
    kept = class_answers.mine(runs().root, code, class_answers.token(code, visitor().id))
    kept = {n: a for n, a in kept.items() if 1 <= n <= len(STEPS) and STEPS[n - 1].takes(a)}
    st.session_state[MINE] = {"of": code} | kept
    return kept


def take(step: Step, key: str | None = None) -> None:
    """Keep an answer, count it for the class, and see to it that the runs are there."""
    answer = SKIPPED if key is None else str(st.session_state[key])
    _keep(answered() | {step.number: answer})
    code = get("class_code")
    if code and answer != SKIPPED:
        attempt(
            lambda: class_answers.record(
                runs().root, code, step.number, answer, class_answers.token(code, visitor().id)
            )
        )
    attempt(lambda: start(step))


def again(step: Step) -> None:
    """Take an answer back, to give another one; the class's list keeps it until then."""
    _keep({number: answer for number, answer in answered().items() if number != step.number})


def _keep(mine: dict[int, str]) -> None:
    code = get("class_code")
    st.session_state[MINE] = mine | ({"of": code} if code else {})


def attempt(action: Callable[[], None]) -> None:
    """Do something in a callback; what is refused is said on the page."""
    try:
        action()
    except Exception as error:
        st.session_state[TROUBLE] = error


def say_trouble() -> None:
    """What a callback could not do, said once."""
    trouble = st.session_state.pop(TROUBLE, None)
    if trouble is not None:
        page.explain(trouble)


def start(step: Step) -> None:
    for name in step.runs:
        runs().share(config_of(name))


def config_of(name: str):
    return settings(name, rate=get("lesson_rate"), seed=get("lesson_seed"))


# --- the runs of a step


def need_runs(step: Step) -> dict[str, str] | None:
    """The names of a step's runs once all are done; until then None, and the page says why."""
    found = {name: runs().shared(config_of(name)) for name in step.runs}
    if all(where is not None and where.state == "done" for where in found.values()):
        return {name: where.name for name, where in found.items()}
    if all(
        where is not None and (where.active or where.state == "done") for where in found.values()
    ):
        progress(step)
    else:
        missing(step, found)
    return None


def missing(step: Step, found: dict[str, RunInfo | None]) -> None:
    """A run is not there yet, or did not end well: say so, and start it on a click."""
    for name, where in found.items():
        if where is not None and where.state in ("failed", "broken"):
            st.error(
                f"The run of {RUN_WORDS[name]} is {where.state}: {escaping.lines(where.message)}"
            )
        elif where is not None and where.state in ("stopped", "interrupted"):
            st.warning(f"The run of {RUN_WORDS[name]} was {where.state} before its end.")
    n = sum(where is None or where.state != "done" for where in found.values())
    what = "This step shows a run" if len(found) == 1 else f"This step shows {len(found)} runs"
    st.info(f"{what}; {n} of them {'is' if n == 1 else 'are'} not there. It takes seconds each.")
    st.button(
        "Train now",
        type="primary",
        icon=":material/play_arrow:",
        key="lesson-train",
        on_click=lambda: attempt(lambda: start(step)),
    )


def progress(step: Step) -> None:
    """How far the runs are, until all of them have ended."""

    def changed() -> str | None:
        found = [runs().shared(config_of(name)) for name in step.runs]
        return None if any(where is not None and where.active for where in found) else "app"

    @page.guarded
    def lines() -> None:
        found = {name: runs().shared(config_of(name)) for name in step.runs}
        what = "The network trains" if len(found) == 1 else "The networks train"
        run = "run" if len(found) == 1 else "runs"
        st.markdown(f"{what} now. All who are in this lesson see the same {run}.")
        for name, where in found.items():
            if where is not None:
                runs().mark_watched(where.name)
                progress_line(RUN_WORDS[name], where)

    live_updates.keep_looking("lesson-runs", changed, every=1.0, draw=lines)


def progress_line(words: str, where: RunInfo) -> None:
    done = where.epoch / max(where.n_epochs, 1)
    if where.state == "queued":
        st.progress(0.0, f"◷ {words}: waits, number {where.position} in the queue")
    elif where.state == "running":
        left = time_left(where.seconds_left)
        st.progress(done, f"▶ {words}: epoch {where.epoch} of {where.n_epochs}{left}")
    elif where.state == "done":
        st.progress(1.0, f"✓ {words}: ready")
    else:
        st.progress(done, f"{run_picker.SIGNS[where.state]} {words}: {where.state}")


# --- the class


def class_bars(step: Step, finding: Explanation) -> None:
    """How the class answered, kept up to date; only for who has answered, and the teacher."""
    code = get("class_code")
    if code is None:
        return

    def count() -> dict[str, int]:
        return class_answers.counts(runs().root, code, step.number)

    @st.fragment(key="class-bars")
    @page.guarded
    def bars() -> None:
        with live_updates.turn():
            given = count()
            draw_bars(step, finding, given)
            live_updates.keep_looking(
                "class-answers", lambda: None if count() == given else "class-bars", every=3.0
            )

    bars()


def draw_bars(step: Step, finding: Explanation, given: dict[str, int]) -> None:
    given = {answer: n for answer, n in given.items() if step.takes(answer)}
    if not given:
        st.caption("No answers of this class yet.")
        return
    words, counts, right = bars_of(step, finding, given)
    st.markdown(f"**{sum(counts)} answers of class {get('class_code')}**")
    figures.show(
        charts.answer_bars(words, counts, right),
        f"answers-{step.number}",
        alt="Bars: " + "; ".join(f"{w}: {n}" for w, n in zip(words, counts, strict=True)),
        data=pd.DataFrame({"answer": words, "count": counts, "came_out": right}),
    )


def bars_of(step: Step, finding: Explanation, given: dict[str, int]):
    """Words, counts and whether it came out, an entry a bar; percentages in tens."""
    if step.kind == PERCENT:
        tens = [min(int(answer) // 10, 9) for answer in given for _ in range(given[answer])]
        counts = np.bincount(tens, minlength=10)
        came = min(int(finding.outcome) // 10, 9)
        rows = range(max(min([*tens, came]) - 1, 0), 10)
        words = [f"{10 * i} to {10 * i + (10 if i == 9 else 9)} %" for i in rows]
        return words, [int(counts[i]) for i in rows], [i == came for i in rows]
    words = [text.split(":")[0] for text in step.options.values()]
    return (
        words,
        [given.get(key, 0) for key in step.options],
        [finding.is_correct(key) for key in step.options],
    )


def for_teachers(step: Step) -> None:
    with st.expander("For teachers", icon=":material/school:"):
        st.markdown(
            "A link for your class: it hides the controls and the other pages, keeps noise and "
            "seed as they are set here, and counts the answers of those who open it, without names."
        )
        left, right = st.columns(2)
        text = left.text_input(
            "Class code",
            value=get("class_code") or "",
            key="lesson-code",
            max_chars=24,
            placeholder="7b",
            help="It keeps the answers of two classes apart.",
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
            st.caption("Without a class code no answers are kept.")
        else:
            teachers_answers(code)


def teachers_link(code: str | None, step: int) -> str:
    kept = link(guide=True, class_code=code, lesson=step)
    wanted = ("guide", "class_code", "lesson", "lesson_rate", "lesson_seed")
    address = (st.context.url or "").partition("?")[0]
    return f"{address}?{urlencode({name: kept[name] for name in wanted if name in kept})}"


def teachers_answers(code: str) -> None:
    """What the class said so far, and a way to forget it; with the passcode alone."""
    if not visitor().teacher:
        st.caption("To see or clear answers before you answered, give the passcode on Runs.")
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
