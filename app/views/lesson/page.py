"""Lesson: six steps in which a class predicts first and then sees what happens."""

from pathlib import Path

import streamlit as st

from app.components.page import head, word
from app.server.visitors import visitor
from app.state.url_state import bound, get, link, put
from app.views.lesson import class_session
from app.views.lesson.answer_views import SHOWS, example
from app.views.lesson.class_session import SKIPPED, answered
from app.views.lesson.steps import PERCENT, RATES, SEEDS, STEPS, Step
from engine.analysis.lesson_explanations import Explanation


def main() -> None:
    step = STEPS[get("lesson") - 1]
    stepper(step)
    head(f"{step.number}. {step.title}", scene(step), *step.words)
    class_session.say_trouble()
    mine = answered().get(step.number)
    if mine is None:
        ask(step)
    else:
        reveal(step, mine)
    around(step)
    if not get("guide"):
        controls()
    if not get("guide") or visitor().teacher:
        class_session.for_teachers(step)


def stepper(step: Step) -> None:
    """Six bars, one a step: done, here, to come."""
    done = answered()
    cells = []
    for other in STEPS:
        here = other.number == step.number
        state = "here" if here else "done" if other.number in done else "to come"
        sign = {"here": "●", "done": "✓", "to come": "○"}[state]
        cells.append(
            f'<li class="lesson-{state.replace(" ", "-")}"{" aria-current=step" if here else ""}>'
            f'{sign} {other.number}<span class="lesson-title"> {other.title}</span></li>'
        )
    st.html(f'<ol class="lesson-steps" aria-label="Steps of the lesson">{"".join(cells)}</ol>')


def scene(step: Step) -> str:
    rate = get("lesson_rate")
    wrong = 0.9 * rate  # a symmetric draw hits the right one of ten classes, too
    return step.scene.format(
        wrong=f"{wrong:.0%}".replace("%", " %"),
        right=f"{1 - wrong:.0%}".replace("%", " %"),
        rate=f"{rate:.0%}".replace("%", " %"),
    )


def around(step: Step) -> None:
    """To the step before and after, and to the page where one can look on."""

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
                type="primary" if step.number in answered() else "secondary",
            )
        else:
            st.button("To the first step", on_click=go, args=(1,), key="lesson-first")


def controls() -> None:
    """What a teacher's link fixes: noise rate and seed of the lesson's runs."""
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


def ask(step: Step) -> None:
    """The question. Its answer, or none, opens the rest of the step."""
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
                "Lock in and look",
                icon=":material/lock:",
                type="primary",
                on_click=class_session.take,
                args=(step, key),
                key="lesson-lock",
                disabled=st.session_state.get(key) is None,
            )
            st.button(
                "I do not know, show me",
                on_click=class_session.take,
                args=(step,),
                key="lesson-skip",
            )
    if get("class_code"):
        st.caption("Your answer is counted without a name. You see the others' after your own.")


def reveal(step: Step, mine: str) -> None:
    """The runs' pictures and numbers, once they are there."""
    names = class_session.need_runs(step)
    if names is None:
        return
    shown, told = st.columns([3, 2], gap="medium")
    with shown:
        finding = SHOWS[step.number](names)
    with told:
        compare(step, mine, finding)
        with st.container(gap="small", key="lesson-told"):
            for sentence in finding.sentences:
                st.markdown(unbroken(sentence))
        look_on(step, names["mixnn" if "mixnn" in names else "plain"])
        class_session.class_bars(step, finding)


def unbroken(sentence: str) -> str:
    """Numbers stay with their unit at the end of a line."""
    return sentence.replace(" %", "\N{NO-BREAK SPACE}%")


def compare(step: Step, mine: str, finding: Explanation) -> None:
    """The prediction beside what came out."""
    came = step.words_of(finding.outcome)
    if mine == SKIPPED:
        st.info(f"What came out: **{came}**", icon=":material/visibility:")
    elif finding.is_correct(mine):
        near = f", near enough to **{came}**" if mine != finding.outcome else ""
        st.success(
            f"You said: **{step.words_of(mine)}**  \nThat is what came out{near}.",
            icon=":material/check_circle:",
        )
    else:
        st.warning(
            f"You said: **{step.words_of(mine)}**  \nIt came out: **{came}**",
            icon=":material/change_circle:",
        )

    label = "Predict now" if mine == SKIPPED else "Change my answer"
    st.button(
        label,
        type="tertiary",
        icon=":material/undo:",
        on_click=class_session.again,
        args=(step,),
        key="lesson-again",
    )


def look_on(step: Step, run: str) -> None:
    """A link to the page where this can be looked at in full."""
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
