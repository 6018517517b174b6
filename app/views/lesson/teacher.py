"""The lesson as its teacher sees it: start a class, lead it, see its answers, and end it."""

import time
from typing import Any

import streamlit as st

from app.components import downloads, passcode_form
from app.components.page import head
from app.server import classes, escaping
from app.server.classes import Class
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state.url_state import chosen, get, put
from app.views.lesson import class_charts, class_results, class_session, join_link, waiting
from app.views.lesson.class_session import attempt
from app.views.lesson.findings import finding as finding_of
from app.views.lesson.steps import RUNS, STEPS, Step
from engine.files import frame_csv

PHASES = {
    "before": "Questions before",
    "lesson": "Lesson",
    "after": "Questions after",
    "end": "End",
}


def show(one: Class | None) -> None:
    """The class of the address, or the form that starts one."""
    class_session.show_error()
    if one is None:
        start_form()
    elif one.owner != visitor().id:
        another(one)
    else:
        lead(one)


# --- without a class


def start_form() -> None:
    """Start a class, or go on with an earlier one."""
    head("A class", "Students join with a code, predict before they see, and you lead the way.")
    if not classes.may_start(visitor()):
        passcode_form.form(expanded=True)
        return
    with st.container(border=True, key="class-start"):
        st.toggle("Students give a name (otherwise they are anonymous)", key="class-names")
        st.toggle(
            "Ten questions before and after, which show the gain", True, key="class-questions"
        )
        st.button(
            "Start a class",
            type="primary",
            icon=":material/school:",
            key="class-go",
            on_click=begin,
        )
    class_session.controls()
    earlier = classes.of_owner(runs().root, visitor())
    if earlier:
        st.markdown("**Your classes**")
    for one in earlier[:20]:
        with st.container(horizontal=True, vertical_alignment="center"):
            day = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.started))
            st.button(
                f"{one.code}, started {day}",
                key=f"class-open-{one.code}",
                on_click=lambda code=one.code: put(class_code=code),
            )
    st.button("Back to the lesson", type="tertiary", on_click=lambda: put(lesson_view=None))


def begin() -> None:
    """Start a class with the settings of the form and of the address."""

    def start() -> None:
        questions = bool(st.session_state.get("class-questions", True))
        one = classes.start(
            runs().root,
            visitor(),
            rate=get("lesson_rate"),
            seed=get("lesson_seed"),
            names=bool(st.session_state.get("class-names")),
            questions=questions,
            phase="before" if questions else "lesson",
        )
        put(class_code=one.code, lesson_view="teacher")

    attempt(start)


def another(one: Class) -> None:
    """A class that another browser started: a teacher may take it over."""
    head(f"Class {one.code}", "Another browser started this class, and only that one leads it.")
    passcode_form.form(expanded=True)
    with st.container(horizontal=True):
        if visitor().teacher:
            st.button(
                "Lead it from this browser",
                key="class-take",
                on_click=lambda: attempt(
                    lambda: classes.take_over(runs().root, one.code, visitor())
                ),
            )
        st.button("Start another class", key="class-leave", on_click=lambda: put(class_code=None))
        st.button("Join it as a student", on_click=lambda: put(lesson_view=None))


# --- leading a class


def lead(one: Class) -> None:
    """Everything that the teacher of a class needs, on one page."""
    step = STEPS[one.step - 1]
    head(f"Class {one.code}", "What you change here, all browsers of the class show in seconds.")
    left, right = st.columns([2, 3], gap="large")
    with left:
        invitation(one)
        preparation()
    with right:
        leading(one, step)
        live(one, step)
    if one.phase in ("after", "end"):
        outcome(one)
    exports(one)


def invitation(one: Class) -> None:
    """Code, address and QR code for the students, and the projector view."""
    address = join_link.page_address("lesson", guide="1", class_code=one.code)
    code = join_link.qr_code(address)
    image = f'<img class="class-qr" alt="QR code of the address" src="{code}">' if code else ""
    st.html(f'<p class="class-code">{escaping.html(one.code)}</p>{image}')
    st.code(address, language=None, wrap_lines=True)
    if not join_link.is_reachable():
        st.warning(
            "This server accepts connections of its own machine only. For a class, start it with "
            "`--server.address 0.0.0.0`."
        )
    st.caption("Or open Lesson on this server and type the code.")
    show_it = dict(guide="1", class_code=one.code, lesson_view="projector")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.link_button(
            "Projector view",
            f"?{'&'.join(f'{name}={value}' for name, value in show_it.items())}",
            icon=":material/present_to_all:",
        )
        st.button("Other classes", type="tertiary", on_click=lambda: put(class_code=None))


def preparation() -> None:
    """Train all runs of the lesson beforehand."""

    def infos() -> dict:
        return {
            name: info for step in STEPS for name, info in class_session.shared_runs(step).items()
        }

    found = infos()
    ready = sum(info is not None and info.state == "done" for info in found.values())
    if ready == len(RUNS):
        st.caption(f"✓ All {len(RUNS)} runs of the lesson are trained.")
        return
    if any(info is not None and info.active for info in found.values()):
        waiting.progress(infos, drawn=False)
        return
    st.button(
        f"Prepare: train the lesson's runs ({ready} of {len(RUNS)} ready)",
        icon=":material/model_training:",
        key="class-prepare",
        on_click=lambda: attempt(lambda: class_session.start(*STEPS)),
    )


def leading(one: Class, step: Step) -> None:
    """The controls: which part, which step, voting, and the result."""
    phases = PHASES if one.questions else {k: PHASES[k] for k in ("lesson", "end")}
    _choice(one, "phase", "Part", phases)
    if one.phase != "lesson":
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        _choice(one, "together", "Pace", {True: "All together", False: "Each at their own"})
        _choice(one, "held", "Results", {True: "When I show them", False: "After each answer"})
        _toggle(one, "voting", "Voting is open")
    with st.container(horizontal=True, vertical_alignment="bottom", key="class-steps"):
        _button(one, "class-back", "Back", {"step": one.step - 1}, one.step > 1)
        _choice(
            one, "step", "Step", {s.number: f"{s.number}. {s.title}" for s in STEPS}, select=True
        )
        next_step = {"step": one.step + 1, "voting": True}
        _button(one, "class-next", "Next step", next_step, one.step < len(STEPS))
        given = step.number in one.given
        st.button(
            "The result is shown" if given else "Show the result",
            key="class-reveal",
            type="primary",
            disabled=given,
            on_click=lambda: _reveal(one, step),
        )
    st.markdown(f"**{step.question}**")


def _change(one: Class, **changes: Any) -> None:
    attempt(lambda: classes.change(runs().root, one.code, visitor(), **changes))


def _choice(one: Class, name: str, label: str, words: dict, *, select: bool = False) -> None:
    """A widget that shows and changes a field of the class. words: value -> words."""
    options: dict[str, Any] = dict(format_func=words.__getitem__) | _kept(one, name)
    if select:
        st.selectbox(label, list(words), **options)
    else:
        st.segmented_control(label, list(words), required=True, **options)


def _toggle(one: Class, name: str, label: str) -> None:
    st.toggle(label, **_kept(one, name))


def _kept(one: Class, name: str) -> dict[str, Any]:
    """key and on_change of a widget of a field of the class."""
    return chosen(f"class-{name}", getattr(one, name), lambda value: _change(one, **{name: value}))


def _button(one: Class, key: str, label: str, changes: dict, enabled: bool) -> None:
    st.button(label, key=key, disabled=not enabled, on_click=lambda: _change(one, **changes))


def _reveal(one: Class, step: Step) -> None:
    """Show the result of a step to all; its runs are trained if they do not exist yet."""
    _change(one, given=(*one.given, step.number))
    attempt(lambda: class_session.start(step))


# --- what the class does


def live(one: Class, step: Step) -> None:
    """Who is where, and the answers to the step; they update themselves."""
    here = class_charts.present(one, named=True)
    if one.phase != "lesson":
        class_charts.live(one, here)
        return
    names = class_session.done_runs(step)
    finding = None if names is None else finding_of(step.number, names)
    class_charts.live(one, here, class_charts.answers(step, finding, one))
    if finding is not None:
        st.caption(f"The result: {step.words_of(finding.outcome)}")


# --- the end


def outcome(one: Class) -> None:
    """How many predictions came true, and the gain between the questions before and after."""
    answers = class_results.of_class(one)
    st.subheader("Predictions", anchor=False)
    st.dataframe(class_results.scores(answers, class_session.findings()), hide_index=True)
    if one.questions:
        st.subheader("Before and after", anchor=False)
        percent = st.column_config.NumberColumn(format="%.0f %%")
        points = st.column_config.NumberColumn(
            format="%+.0f", help="Percentage points, of those who answered before and after"
        )
        st.dataframe(
            class_results.gains(answers),
            hide_index=True,
            column_config={"Before": percent, "After": percent, "Gain": points},
        )
        with st.container(horizontal=True):
            st.button("Update", key="class-update", icon=":material/refresh:")


def exports(one: Class) -> None:
    """All answers of the class as CSV, a sheet to print, and the end of the class's data."""

    def owned() -> Class:
        return classes.owned(runs().root, one.code, visitor())

    def rows() -> str:
        return frame_csv(
            class_results.table(class_results.of_class(owned()), class_session.findings())
        )

    def sheet() -> str:
        return class_results.sheet(owned(), class_results.of_class(one), class_session.findings())

    with st.container(horizontal=True, vertical_alignment="center", key="class-exports"):
        downloads.button(
            "All answers, CSV", rows, f"class-{one.code}.csv", mime="text/csv", key="class-csv"
        )
        downloads.button(
            "Sheet to print",
            sheet,
            f"class-{one.code}.html",
            mime="text/html",
            icon=":material/print:",
            key="class-sheet",
        )
        with st.popover("Delete", icon=":material/delete:"):
            st.markdown("The class and all its answers are removed from this server.")
            st.button(f"Delete class {one.code}", key="class-delete", on_click=lambda: _delete(one))


def _delete(one: Class) -> None:
    def remove() -> None:
        classes.owned(runs().root, one.code, visitor())
        classes.remove(runs().root, one.code)
        put(class_code=None)

    attempt(remove)
