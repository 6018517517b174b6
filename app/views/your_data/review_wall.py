"""The wall of step 3: labels are reviewed in groups, see `app.components.wall`."""

from typing import Any

import numpy as np
import streamlit as st

from app.components import images
from app.components.wall import Answer, Book, steps_of, wall, wanted_of
from app.server import run_cache
from app.server.decisions import Reviews
from app.server.run_info import RunsError
from app.server.run_view import RunView
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state.url_state import put
from app.views.your_data import evidence
from app.views.your_data.reviews import READ_ONLY, check_owner, reviews_of
from engine.analysis import review_order
from engine.analysis.label_issues import LabelIssues
from engine.errors import StoreError
from engine.runs.records import epochs_file

PER_SHEET, COLUMNS = 256, 16  # images of a sprite sheet
REQUESTED = "wall.sheets"  # of the session: (run, number) of the sheets requested
ANSWER = "wall.answer"  # of the session: to the last message of the browser


def show(view: RunView, issues: LabelIssues) -> None:
    """All images of a run, the most doubtful labels first, and the decisions on them."""
    name, created = view.name, view.run.info["created"]
    data = evidence.images_of(view)
    side = 0 if data is None else max(data.shape[1:])
    stamp = run_cache.stamp_of(epochs_file(view.run.folder))
    key = f"{name} {created} {stamp} {view.row}"
    book = _book(key, side, view, issues)
    n_sheets = 0 if data is None else -(-len(book.samples) // PER_SHEET)
    reviews, may_decide = reviews_of(name), runs().may_control(name, visitor())

    def exchange(message: dict[str, Any]) -> None:
        requested = st.session_state.setdefault(REQUESTED, set())
        requested.update((name, number) for number in wanted_of(message, n_sheets))
        st.session_state[ANSWER] = receive(name, reviews, issues.given, message)

    requested = st.session_state.get(REQUESTED, set())
    numbers = [i for i in range(n_sheets) if i == 0 or (name, i) in requested]
    wall(
        book=images.hosted(_packed(key, side, book), "application/octet-stream", f"wall-{key}"),
        sheets={i: _sheet_url(name, key, i, book.samples) for i in numbers},
        log=reviews.log(),
        by=visitor().id,
        answer=st.session_state.pop(ANSWER, Answer()),
        read_only="" if may_decide else READ_ONLY,
        key="wall",
        exchange=exchange,
        open_sample=lambda sample: put(desk_view=None, sample=sample),
    )


def receive(name: str, reviews: Reviews, given: np.ndarray, message: dict[str, Any]) -> Answer:
    """Store the decisions of a message, each once. given: (N,) labels of the run."""
    identity = str(message.get("message", ""))[:64]
    applied: dict[str, int] = {}
    refusals: list[str] = []
    try:
        if message.get("queues"):
            check_owner(name)
            for source, steps in steps_of(message, given).items():
                applied[source], refused = reviews.receive(source, steps, by=visitor().id)
                refusals += refused
    except (StoreError, RunsError) as error:
        return Answer(identity, applied, problem=str(error))
    except (ValueError, KeyError, TypeError) as error:  # not what the wall sends
        return Answer(identity, applied, problem=f"A message that cannot be read: {error}.")
    return Answer(identity, applied, refusals=refusals)


@st.cache_resource(max_entries=4, show_spinner="Building the wall")
def _book(key: str, side: int, _view: RunView, _issues: LabelIssues) -> Book:
    doubt = review_order.doubt_of(_issues)
    order = doubt.order
    given, suggested, wrong = _issues.given[order], _issues.suggested[order], doubt.wrong[order]
    alike = review_order.by_look_alikes(_view.run, _view.row, order, given, wrong)
    return Book(
        run=key,
        classes=_view.classes,
        samples=order,
        given=given,
        suggested=suggested,
        likely=_issues.probability[order],
        doubt=wrong,
        groupings={
            "Pairs": review_order.by_pair(given, suggested, wrong),
            "Look-alikes": alike,
            "Doubt": review_order.by_doubt(len(order)),
        },
        per_sheet=PER_SHEET if side else 0,
        columns=COLUMNS,
        side=min(side, images.LARGEST_SIDE),
    )


@st.cache_resource(max_entries=4, show_spinner=False)
def _packed(key: str, side: int, _book: Book) -> bytes:
    return _book.packed()


def _sheet_url(name: str, key: str, number: int, samples: np.ndarray) -> str:
    content = _sheet(name, key, number, samples)
    return images.hosted(content, images.kind_of(content), f"wall-{key}-{number}")


@st.cache_data(max_entries=256, show_spinner=False)
def _sheet(name: str, key: str, number: int, _samples: np.ndarray) -> bytes:
    chosen = _samples[number * PER_SHEET : (number + 1) * PER_SHEET]
    return images.sprite_sheet(run_cache.pixels(name, chosen), COLUMNS)
