"""Lesson: six steps in which a class predicts first and then sees the result.

Three views of it, by the address: a student's, the teacher's, and a projector's.
"""

import streamlit as st

from app.components.page import head
from app.server import classes
from app.server.class_answers import NAME
from app.server.classes import Class
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state.url_state import get, put
from app.views.lesson import class_session, ending, projector, questionnaire, student, teacher


def main() -> None:
    one = class_session.current()
    view = get("lesson_view")
    if view == "teacher":
        teacher.show(one)
    elif view == "projector":
        projector.show(one)
    else:
        students_view(one)


def students_view(one: Class | None) -> None:
    """What the class does now, or the lesson without a class."""
    if one is not None and one.names and NAME not in class_session.answers():
        ask_name(one)
    elif one is not None and one.phase in ("before", "after"):
        questionnaire.show(one)
    elif one is not None and one.phase == "end":
        ending.show(one)
    else:
        student.show(one)
    if one is None:
        doors()
    elif one.owner == visitor().id:
        st.button(
            "To the teacher's view",
            key="class-view",
            icon=":material/school:",
            on_click=lambda: put(lesson_view="teacher"),
        )


def ask_name(one: Class) -> None:
    """The name of a student, in a class that asks for one."""
    head("Welcome", "Your teacher has asked for a name; the teacher alone sees it.")
    class_session.show_error()

    def store() -> None:
        name = str(st.session_state.get("lesson-name", ""))
        class_session.attempt(lambda: classes.give_name(runs().root, one.code, name, visitor()))
        class_session.forget()

    with st.form("lesson-named", border=False):
        st.text_input("Your name", key="lesson-name", max_chars=40)
        st.form_submit_button("Join", type="primary", on_click=store)


def doors() -> None:
    """Join a class, or start one."""
    with st.expander(
        "In a class", icon=":material/school:", expanded=get("class_code") is not None
    ):
        class_session.join()
        if not get("guide"):
            st.button(
                "I am the teacher: start or lead a class",
                key="class-view",
                on_click=lambda: put(lesson_view="teacher"),
            )


main()
