"""The end of the lesson for a student: one's score, what was learned, and a link to go on."""

import streamlit as st

from app.components.page import head
from app.server.class_answers import AGAIN
from app.server.classes import Class
from app.views.lesson import class_charts, class_session, join_link
from app.views.lesson.class_results import score_of
from app.views.lesson.steps import STEPS


def show(one: Class) -> None:
    """Score, one sentence a step, and the link to the runs of this lesson."""
    mine, found = class_session.answers(), class_session.findings()
    right, n = score_of(mine, found)
    head("The end", f"**{right} of {n}** of your first predictions came true." if n else "")
    lines = []
    for step in STEPS:
        first = mine.get(step.number)
        finding = found.get(step.number)
        mark = "○" if finding is None or not first else "✓" if finding.is_correct(first) else "✗"
        lines.append(f"- {mark} **{step.title}.** {step.learned}")
        second = mine.get(step.number + AGAIN)
        if second and finding is not None and finding.is_correct(second) and mark != "✓":
            lines[-1] += " (Right the second time.)"
    st.markdown("\n".join(lines))
    names = class_session.done_runs(STEPS[1])
    if names is not None:
        st.markdown("**Try it yourself**: the network of this lesson, to steer and to take home.")
        run = {"run": names["mixnn"], "against": names["plain"]}
        st.code(join_link.page_address("player", **run), language=None, wrap_lines=True)
        st.page_link(
            "views/player/page.py",
            label="Open it",
            icon=":material/arrow_forward:",
            query_params=run,
        )
    class_charts.live(one, step=len(STEPS), answered=True)
