"""The answers of a class as bars, drawn as HTML: they change while people look, at any size."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pandas as pd
import streamlit as st

from app.components import figures, live_updates, page
from app.server import class_answers, classes, escaping
from app.server.class_answers import AGAIN, NAME
from app.server.classes import Class, doorkeeper
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.views.lesson.steps import PERCENT, STEPS, Step
from engine.analysis.lesson_explanations import Explanation

SHORT = 12  # characters of words that stand beside their bar, not above it


class Bar(NamedTuple):
    """How many gave an answer first, and after they had seen the result; right: if it is known."""

    words: str
    first: int
    later: int = 0
    right: bool | None = None


def counts_of(one: Class, step: Step) -> tuple[dict[str, int], dict[str, int]]:
    """The answers to a step, answer -> how many: first predictions, and second answers."""
    first, later = (
        {
            answer: n
            for answer, n in class_answers.counts(runs().root, one.code, question).items()
            if step.takes(answer)
        }
        for question in (step.number, step.number + AGAIN)
    )
    return first, later


def bars_of(
    step: Step, finding: Explanation | None, one: Class, *, full: bool = False
) -> list[Bar]:
    """A bar for each answer to a step, those that nobody gave among them; percentages in tens.

    finding: None hides which answer is right. full: answers in all their words.
    """
    first, later = counts_of(one, step)
    if step.kind != PERCENT:
        return [
            Bar(
                words if full else words.split(":")[0],
                first.get(answer, 0),
                later.get(answer, 0),
                None if finding is None else finding.is_correct(answer),
            )
            for answer, words in step.options.items()
        ]
    tens = [_tens(first), _tens(later)]
    right = None if finding is None else min(int(finding.outcome) // 10, 9)
    used = [i for i in range(10) if tens[0][i] or tens[1][i] or i == right]
    rows = range(max(min(used, default=0) - 1, 0), 10)
    return [
        Bar(
            f"{10 * i} to {10 * i + (10 if i == 9 else 9)} %",
            tens[0][i],
            tens[1][i],
            None if right is None else i == right,
        )
        for i in rows
    ]


def _tens(counts: dict[str, int]) -> list[int]:
    found = [0] * 10
    for answer, n in counts.items():
        found[min(int(answer) // 10, 9)] += n
    return found


def answers_in_words(n: int) -> str:
    """A number of answers: "1 answer", "2 answers"."""
    return f"{n} answer" if n == 1 else f"{n} answers"


def draw(bars: Sequence[Bar]) -> None:
    """Bars with whole numbers, as shares of all; the right answer has a check mark."""
    n = max(sum(bar.first for bar in bars), 1)
    rows = []
    for bar in bars:
        mark = "✓ " if bar.right else ""
        kind = " class=right" if bar.right else ""
        later = f" <small>(later {bar.later})</small>" if bar.later else ""
        rows.append(
            f"<li{kind}><span>{mark}{escaping.html(bar.words)}</span>"
            f'<span class="class-bar"><i style="width:{100 * bar.first / n:.0f}%"></i></span>'
            f"<b>{bar.first}</b>{later}</li>"
        )
    short = " class-short" * all(len(bar.words) <= SHORT for bar in bars)
    st.html(f'<ul class="class-bars{short}">{"".join(rows)}</ul>')


class Part(NamedTuple):
    """A part of a page that changes with its class: what it shows, and how it is drawn."""

    read: Callable[[], Any]
    draw: Callable[[], None]


def answers(step: Step, finding: Explanation | None, one: Class, *, full: bool = False) -> Part:
    """The answers of the class to a step. full: in all their words, also while there are none."""

    def lines() -> None:
        bars = bars_of(step, finding, one, full=full)
        n, later = sum(bar.first for bar in bars), sum(bar.later for bar in bars)
        if not n + later and not (full and step.options):
            st.caption("No answers of this class yet.")
            return
        again = f", and {later} after the result was shown" if later else ""
        st.markdown(f"**{answers_in_words(n)} of class {one.code}**{again}")
        draw(bars)

    return Part(lambda: counts_of(one, step), lines)


def present(one: Class, *, named: bool = False) -> Part:
    """How many are present, at which step, and how many of them have answered.

    named: also who, in a class that asks for names.
    """

    def lines() -> None:
        here = doorkeeper().present(one.code)
        done = sum(answered for _, answered in here.values())
        people = "1 student is" if len(here) == 1 else f"{len(here)} students are"
        st.markdown(f"**{people} here**, {done} of them answered")
        if not one.together and one.phase == "lesson" and here:
            at = [step for step, _ in here.values()]
            draw([Bar(f"at step {s.number}", at.count(s.number)) for s in STEPS])
        if named and one.names and here:
            given = class_answers.of_class(runs().root, one.code)
            words = [
                f"{given.get(me, {}).get(NAME, 'no name yet')} {'✓' if answered else '…'}"
                for me, (_, answered) in here.items()
            ]
            st.caption(escaping.markdown(", ".join(sorted(words)), 4000))

    return Part(lambda: doorkeeper().present(one.code), lines)


def live(one: Class, *parts: Part, step: int = 0, answered: bool = False) -> None:
    """Draw parts, again whenever they change, and the whole page when the class has moved on.

    The visitor counts as present at a step, except for the teacher. Call it once on a page: of two
    that ask the server at the same moment, the browser may lose one.
    """
    me = class_answers.token(one.code, visitor().id)

    def note() -> None:
        if visitor().id != one.owner:
            doorkeeper().note(one.code, me, step, answered)

    @st.fragment(key="class-live")
    @page.guarded
    def drawn() -> None:
        with live_updates.turn():
            before = [part.read() for part in parts]
            for part in parts:
                part.draw()

        def changed() -> str | None:
            note()
            if classes.find(runs().root, one.code) != one:
                return "app"
            return None if [part.read() for part in parts] == before else "class-live"

        live_updates.poll("class-poll", changed, every=2.0)

    note()
    drawn()


def save(step: Step, finding: Explanation, one: Class) -> None:
    """A button that saves the bars of a step as CSV."""

    def table() -> pd.DataFrame:
        columns = ["answer", "count", "after_result", "came_out"]
        return pd.DataFrame(bars_of(step, finding, one), columns=columns)

    figures.save_csv(f"answers-{step.number}", table)
