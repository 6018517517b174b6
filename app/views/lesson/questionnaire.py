"""The ten questions as a form, before and after the lesson."""

import streamlit as st

from app.components.page import head
from app.server import classes
from app.server.class_answers import AFTER, BEFORE
from app.server.classes import Class
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.views.lesson import class_charts, class_session, waiting
from app.views.lesson.questions import QUESTIONS, UNKNOWN


def show(one: Class) -> None:
    """The ten questions to a student, once before and once after the lesson."""
    offset, when = (BEFORE, "Before") if one.phase == "before" else (AFTER, "After")
    mine = class_session.answers()
    if offset + 1 in mine:
        head("Thank you", "Your answers are stored. Your teacher goes on in a moment.")
        st.markdown("Meanwhile: which of these labels are wrong?")
        waiting.digits(class_session.config_of("plain"))
    else:
        head(
            f"{when} the lesson: ten questions",
            "This is no test of you: it shows what the class knows already, and what it learns. "
            "“I do not know” is a good answer where it is true.",
        )
        form(one, offset)
    class_charts.live(one, answered=offset + 1 in mine)


def form(one: Class, offset: int) -> None:
    """Ten questions that are handed in together."""

    def hand_in() -> None:
        chosen = {n: st.session_state.get(key(n)) for n in range(1, len(QUESTIONS) + 1)}
        given = {n: UNKNOWN if a is None else a for n, a in chosen.items()}
        class_session.attempt(
            lambda: classes.fill_in(runs().root, one.code, offset, given, visitor())
        )
        class_session.forget()

    def key(number: int) -> str:
        return f"question-{offset}-{number}"

    with st.form("lesson-questions"):
        for number, question in enumerate(QUESTIONS, 1):
            st.radio(
                f"**{number}.** {question.text}",
                [*map(str, range(len(question.options))), UNKNOWN],
                format_func=question.words_of,
                index=None,
                key=key(number),
            )
        st.form_submit_button("Hand in", type="primary", on_click=hand_in)
