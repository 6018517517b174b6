"""Lesson: six steps in which a class predicts first and then sees the result."""

from pathlib import Path

import streamlit as st

from app.components.page import head, word
from app.server.visitors import visitor
from app.state.url_state import bound, get, link, put
from app.views.lesson import class_session
from app.views.lesson.answer_views import ANSWER_VIEWS, example
from app.views.lesson.class_session import SKIPPED, answers
from app.views.lesson.steps import PERCENT, RATES, SEEDS, STEPS, Step
from engine.analysis.lesson_explanations import Explanation


def main() -> None:
    step = STEPS[get("lesson") - 1]
    stepper(step)
    head(f"{step.number}. {step.title}", scene(step), *step.words)
    class_session.show_error()
    answer = answers().get(step.number)
    if answer is None:
        question(step)
    else:
        result(step, answer)
    navigation(step)
    if not get("guide"):
        controls()
    if not get("guide") or visitor().teacher:
        class_session.for_teachers(step)


def stepper(step: Step) -> None:
    """Six bars, one per step: done, current, to come."""
    done = answers()
    cells = []
    for other in STEPS:
        current = other.number == step.number
        state = "here" if current else "done" if other.number in done else "to come"
        aria = " aria-current=step" if current else ""
        symbol = {"here": "●", "done": "✓", "to come": "○"}[state]
        cells.append(
            f'<li class="lesson-{state.replace(" ", "-")}"{aria}>'
            f'{symbol} {other.number}<span class="lesson-title"> {other.title}</span></li>'
        )
    st.html(f'<ol class="lesson-steps" aria-label="Steps of the lesson">{"".join(cells)}</ol>')


def scene(step: Step) -> str:
    """The scene of a step, with the shares of right and wrong labels filled in."""
    rate = get("lesson_rate")
    wrong = 0.9 * rate  # symmetric noise keeps the right one of ten classes in a tenth of the cases
    return step.scene.format(
        wrong=f"{wrong:.0%}".replace("%", " %"),
        right=f"{1 - wrong:.0%}".replace("%", " %"),
        rate=f"{rate:.0%}".replace("%", " %"),
    )


def navigation(step: Step) -> None:
    """Buttons to the steps before and after."""

    def go(number: int) -> None:
        put(lesson=number)

    with st.container(horizontal=True, vertical_alignment="center", key="lesson-around"):
        st.button(
            "Back",
            icon=":material/arrow_back:",
            on_click=go,
            args=(step.number - 1,),
            disabled=step.number == 1,
            key="lesson-back",
        )
        st.space("stretch")
        if step.number < len(STEPS):
            st.button(
                f"Next: {STEPS[step.number].title}",
                icon=":material/arrow_forward:",
                on_click=go,
                args=(step.number + 1,),
                icon_position="right",
                key="lesson-next",
                type="primary" if step.number in answers() else "secondary",
            )
        else:
            st.button("To the first step", on_click=go, args=(1,), key="lesson-first")


def controls() -> None:
    """Noise rate and seed of the lesson's runs, which a teacher's link fixes."""
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


def question(step: Step) -> None:
    """The question. An answer, or skipping it, opens the rest of the step."""
    key = f"lesson-answer-{step.number}"
    with st.container(border=True, key="lesson-question"):
        st.markdown(f"**What do you think?** {step.question}")
        if step.kind == PERCENT:
            st.slider("Percent", 0, 100, 50, 1, format="%d %%", key=key)
        else:
            st.radio(
                step.question,
                list(step.options),
                format_func=step.options.__getitem__,
                index=None,
                label_visibility="collapsed",
                key=key,
            )
        with st.container(horizontal=True):
            st.button(
                "Lock in and see",
                icon=":material/lock:",
                type="primary",
                on_click=class_session.submit,
                args=(step, key),
                key="lesson-lock",
                disabled=st.session_state.get(key) is None,
            )
            st.button(
                "I do not know, show me",
                on_click=class_session.submit,
                args=(step,),
                key="lesson-skip",
            )
    if get("class_code"):
        st.caption(
            "Your answer is counted without a name. You see the others' answers after your own."
        )


def result(step: Step, answer: str) -> None:
    """The charts and the explanation, once the runs are done."""
    names = class_session.finished_runs(step)
    if names is None:
        return
    left, right = st.columns([3, 2], gap="medium")
    with left:
        finding = ANSWER_VIEWS[step.number](names)
    with right:
        compare(step, answer, finding)
        with st.container(gap="small", key="lesson-result"):
            for sentence in finding.sentences:
                st.markdown(unbroken(sentence))
        page_link(step, names["mixnn" if "mixnn" in names else "plain"])
        class_session.class_bars(step, finding)


def unbroken(sentence: str) -> str:
    """A sentence whose numbers stay with their unit at the end of a line."""
    return sentence.replace(" %", "\N{NO-BREAK SPACE}%")


def compare(step: Step, answer: str, finding: Explanation) -> None:
    """The visitor's answer and the outcome."""
    outcome = step.words_of(finding.outcome)
    if answer == SKIPPED:
        st.info(f"The result: **{outcome}**", icon=":material/visibility:")
    elif finding.is_correct(answer):
        near = f": close enough to **{outcome}**" if answer != finding.outcome else ""
        st.success(
            f"You said: **{step.words_of(answer)}**  \nThat is right{near}.",
            icon=":material/check_circle:",
        )
    else:
        st.warning(
            f"You said: **{step.words_of(answer)}**  \nThe result: **{outcome}**",
            icon=":material/change_circle:",
        )

    label = "Predict now" if answer == SKIPPED else "Change my answer"
    st.button(
        label,
        type="tertiary",
        icon=":material/undo:",
        on_click=class_session.withdraw,
        args=(step,),
        key="lesson-again",
    )


def page_link(step: Step, run: str) -> None:
    """A link to the page that shows this in full."""
    page, words = step.page
    if get("guide") or not (Path(__file__).parents[1] / page / "page.py").exists():
        return
    st.page_link(
        f"views/{page}/page.py",
        label=words,
        icon=":material/arrow_forward:",
        query_params=link(run=run, epoch=None, sample=example(run)),
    )


main()
