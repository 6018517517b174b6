"""The lesson as a student sees it: a question, one's prediction, and the result."""

from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.components.page import head
from app.server.class_answers import AGAIN
from app.server.classes import Class
from app.state.url_state import get, link, put
from app.views.lesson import class_charts, class_session, waiting
from app.views.lesson.answer_views import ANSWER_VIEWS, MORE_VIEWS, example
from app.views.lesson.class_session import REOPENED, SKIPPED, answers
from app.views.lesson.findings import finding as finding_of
from app.views.lesson.steps import PERCENT, STEPS, Step
from engine.analysis.lesson_explanations import Explanation

LEADS = "Your teacher leads through the steps."


def show(one: Class | None) -> None:
    """The step of the class, or one's own."""
    together = one is not None and one.together
    step = STEPS[(one.step if one is not None and together else get("lesson")) - 1]
    stepper(step)
    head(f"{step.number}. {step.title}", scene(step, one), *step.words)
    pictures = st.container(key="lesson-digits") if step.number == 1 else None
    if pictures is not None:
        pictures.empty()  # a container without elements takes no room
    class_session.show_error()
    mine = answers()
    answered = step.number in mine
    shown = answered if one is None else one.shows_result(step.number, answered)
    place = st.container()
    parts: list[class_charts.Part] = []
    with place:
        if st.session_state.get(REOPENED) == step.number or not (answered or shown):
            question(step, one)
        elif one is None or shown:
            place, parts = result(step, one)
        else:
            locked_in(step, one)
    if one is not None:
        with place:
            class_charts.live(one, *parts, step=step.number, answered=answered)
    if together:
        st.caption(LEADS)
    else:
        navigation(step)
    if one is None and not get("guide"):
        class_session.controls()
    if pictures is not None:  # last: the question does not wait for the data set
        with pictures:
            waiting.digits(class_session.config_of("plain"))


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


def scene(step: Step, one: Class | None) -> str:
    """The scene of a step, with the shares of right and wrong labels filled in."""
    rate = get("lesson_rate") if one is None else one.rate
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


def question(step: Step, one: Class | None) -> None:
    """The question. An answer, or skipping it, opens the rest of the step."""
    key = f"lesson-answer-{step.number}"
    answered = step.number in answers()
    second = answered if one is None else one.shows_result(step.number, answered)
    closed = one is not None and not second and not one.takes_prediction(step.number)
    held = one is not None and one.held
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
                "Lock in" if held else "Lock in and see",
                icon=":material/lock:",
                type="primary",
                on_click=class_session.submit,
                args=(step, key),
                key="lesson-lock",
                disabled=closed or st.session_state.get(key) is None,
            )
            if not second:
                st.button(
                    "I do not know" if held else "I do not know, show me",
                    on_click=class_session.submit,
                    args=(step,),
                    key="lesson-skip",
                    disabled=closed,
                )
    if closed:
        st.caption("Voting is closed. Wait for your teacher.")
    elif second:
        st.caption("Your first prediction stays; this answer is counted apart from it.")
    elif one is not None:
        name = "with your name" if one.names else "without a name"
        st.caption(f"Your answer is counted {name}. You see the others' answers after your own.")


def locked_in(step: Step, one: Class) -> None:
    """A prediction whose result the teacher still holds, and a picture to look at."""
    answer = answers()[step.number]
    said = "You do not know yet." if answer == SKIPPED else f"You said: **{step.words_of(answer)}**"
    st.info(f"{said}  \nThe result comes when your teacher shows it.", icon=":material/lock:")
    if one.takes_prediction(step.number):
        again_button(step, "Change my answer")
    if step.number > 1:  # whose scene shows them already
        st.markdown("Meanwhile: which of these labels are wrong?")
        waiting.digits(class_session.config_of("plain"))


def result(step: Step, one: Class | None) -> tuple[DeltaGenerator, list[class_charts.Part]]:
    """The charts and the explanation, once the runs are done.

    Returns the answers of the class, to be drawn live, and where.
    """
    names = class_session.finished_runs(step)
    if names is None:
        return st.container(), []
    finding = finding_of(step.number, names)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        ANSWER_VIEWS[step.number](names, finding)
        if step.number in MORE_VIEWS:
            MORE_VIEWS[step.number](names, finding)
    with right:
        compare(step, finding)
        with st.container(gap="small", key="lesson-result"):
            for sentence in finding.sentences:
                st.markdown(unbroken(sentence))
        page_link(step, names["mixnn" if "mixnn" in names else "plain"])
        place = st.container()
        if one is None:
            return place, []
        class_charts.save(step, finding, one)
        return place, [class_charts.answers(step, finding, one)]


def unbroken(sentence: str) -> str:
    """A sentence whose numbers stay with their unit at the end of a line."""
    return sentence.replace(" %", "\N{NO-BREAK SPACE}%")


def compare(step: Step, finding: Explanation) -> None:
    """The visitor's prediction, the outcome, and the answer given after it."""
    mine = answers()
    first, second = mine.get(step.number), mine.get(step.number + AGAIN)
    outcome = step.words_of(finding.outcome)
    if not first:  # skipped, or not answered in time
        st.info(f"The result: **{outcome}**", icon=":material/visibility:")
    elif finding.is_correct(first):
        near = f": close enough to **{outcome}**" if first != finding.outcome else ""
        st.success(
            f"You said: **{step.words_of(first)}**  \nThat is right{near}.",
            icon=":material/check_circle:",
        )
    else:
        st.warning(
            f"You said: **{step.words_of(first)}**  \nThe result: **{outcome}**",
            icon=":material/change_circle:",
        )
    if second:
        st.caption(f"After the result you said: {step.words_of(second)}")
    again_button(step, "Answer again" if first else "Answer now")


def again_button(step: Step, label: str) -> None:
    """A button that asks the question again."""
    st.button(
        label,
        type="tertiary",
        icon=":material/undo:",
        on_click=class_session.reopen,
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
