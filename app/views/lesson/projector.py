"""The lesson on a projector: a question, the answers of the class, the result, in large type."""

import streamlit as st

from app.components import figures
from app.components.page import head
from app.server import escaping
from app.server.classes import Class
from app.server.visitors import visitor
from app.views.lesson import class_charts, class_session, join_link
from app.views.lesson.answer_views import ANSWER_VIEWS
from app.views.lesson.findings import finding as finding_of
from app.views.lesson.steps import STEPS, Step

LARGER = 2.2  # the charts, whose smallest text has 13 px
# pixels of the chart of a step, so that no page scrolls
HEIGHTS = {1: 640, 2: 640, 3: 380, 4: 340, 5: 640, 6: 720}


def show(one: Class | None) -> None:
    """What the class sees on the wall; only in a browser of its teacher, who alone may see bars
    before a result is shown."""
    if one is None or one.owner != visitor().id:
        head("Projector view", "Open it in the browser that started the class.")
        return
    with st.container(key="projector"):
        step = STEPS[one.step - 1]
        if one.phase != "lesson":
            invitation(one)
        else:
            question(one, step)


def invitation(one: Class) -> None:
    """How to join, and what the class does now."""
    address = join_link.page_address("lesson", guide="1", class_code=one.code)
    short = join_link.page_address("lesson").partition("//")[2]
    doing = {
        "before": "Ten questions before the lesson",
        "after": "Ten questions after the lesson",
        "end": "The end. Thank you!",
    }[one.phase]
    head(doing, "")
    if one.phase != "end":
        code = join_link.qr_code(address)
        image = f'<img class="class-qr" alt="QR code of the address" src="{code}">' if code else ""
        st.html(
            f'<div class="projector-join">{image}<div><p>{escaping.html(short)}</p>'
            f'<p class="class-code">{escaping.html(one.code)}</p></div></div>'
        )
    class_charts.live(one, class_charts.present(one))


def question(one: Class, step: Step) -> None:
    """The question, the bars, and the result once the teacher shows it."""
    head(f"{step.number}. {step.title}", step.question)
    given = step.number in one.given
    names = class_session.finished_runs(step) if given else None
    if names is None:
        bars = class_charts.answers(step, None, one, full=True)
        class_charts.live(one, bars, class_charts.present(one))
        state = "Voting is open" if one.takes_prediction(step.number) else "Voting is closed"
        st.html(f'<p class="projector-foot">{state} · code <b>{escaping.html(one.code)}</b></p>')
        return
    finding = finding_of(step.number, names)
    left, right = st.columns([2, 3], gap="large")
    with left:
        class_charts.live(one, class_charts.answers(step, finding, one))
        st.html(f"<p class=projector-result>{escaping.html(step.words_of(finding.outcome))}</p>")
        st.markdown(finding.sentences[-1])  # the others are on the students' screens
    with (
        right,
        st.container(key="projector-reveal"),
        figures.enlarged(LARGER, HEIGHTS[step.number]),
    ):
        ANSWER_VIEWS[step.number](names, finding)
