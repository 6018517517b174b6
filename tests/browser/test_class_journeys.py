"""A class: its teacher, two students, ten without a screen and a projector, from the questions
before the lesson to the end."""

import csv
import json
import sys
from pathlib import Path

import pytest

from app.server import classes
from app.server.storage import storage_of
from app.server.visitors import Visitor
from app.views.lesson.steps import RUNS, settings
from engine.runs.runner import Runner
from tests.browser.conftest import PASSCODE, go, settled

pytest.importorskip("psutil")
pytest.importorskip("websockets")
sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import classroom  # noqa: E402

CROWD = 10  # students without a screen

SMALLEST = """() => [...document.querySelectorAll('.st-key-projector *')].filter(e =>
  e.getClientRects().length && e.closest('style') === null &&
  [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())
).map(e => {
  let zoom = 1;
  for (let q = e; q; q = q.parentElement) zoom *= parseFloat(getComputedStyle(q).zoom) || 1;
  return [zoom * parseFloat(getComputedStyle(e).fontSize), e.textContent.trim().slice(0, 40)];
}).filter(([size]) => size < 28)"""

SCROLLS = """() => { const main = document.querySelector('[data-testid=stMain]');
  return main.scrollHeight - main.clientHeight; }"""


def lay_ready(root) -> None:
    """Put small runs where the server expects the lesson's own."""
    for name in RUNS:
        config = settings(name).changed(limit=200, epochs=5)
        runner = Runner.new(config, root / name)
        runner.run()
        assert runner.status.state == "done", runner.status.error
    keys = {json.dumps(settings(n).model_dump(mode="json"), sort_keys=True): n for n in RUNS}
    storage_of(root).replace("shared", keys)


def choose(tab, number: int) -> None:
    """Choose an answer and lock it in."""
    radios = tab.get_by_role("radio")
    tab.locator("[data-testid='stRadio'] label", has=radios).nth(number).click()
    tab.locator(".st-key-lesson-lock button:enabled").click()


@pytest.mark.slow
def test_a_class_from_start_to_end(visit, own_server):
    server = own_server(MIXNN_PASSCODE=PASSCODE)
    lay_ready(server.root)
    teacher = visit("lesson", on=server, lesson_view="teacher")
    teacher.get_by_label("Passcode").fill(PASSCODE)
    teacher.get_by_role("button", name="Unlock").click()
    teacher.locator(".st-key-class-go button").click()
    code = teacher.locator(".class-code").inner_text()
    wall = teacher.context.new_page()
    wall.set_viewport_size({"width": 1920, "height": 1080})

    # two students come, by address and by code, and answer the questions before the lesson
    ann = visit("lesson", on=server, guide="1", class_code=code, theme="dark")
    bob = visit("lesson", on=server, width=390, height=844)
    bob.get_by_text("In a class").click()
    bob.get_by_label("Class code").fill(code.upper())
    bob.get_by_role("button", name="Join the class").click()
    crowd = classroom.Crowd(server.url, code, CROWD, think=1.0)
    teacher.get_by_text(f"{CROWD + 2} students are here").wait_for()
    for student in (ann, bob):
        assert student.get_by_role("link", name="Train", exact=True).count() == 0
        student.get_by_role("button", name="Hand in").click()
        student.get_by_text("Thank you").wait_for()
    teacher.get_by_text(f"{CROWD + 2} of them answered").wait_for()

    # a prediction each, which the teacher sees without touching anything; then the result
    teacher.get_by_role("radio", name="Lesson", exact=True).click()
    for student, number in ((ann, 0), (bob, 2)):
        student.get_by_role("heading", name="1. Early learning").wait_for()
        choose(student, number)
        student.get_by_text("The result comes when your teacher shows it").wait_for()
    teacher.get_by_text(f"{CROWD + 2} answers of class").wait_for()
    go(wall, server, "lesson", guide="1", class_code=code, lesson_view="projector")
    wall.get_by_text(f"{CROWD + 2} answers of class").wait_for()
    assert not wall.evaluate(SMALLEST)
    teacher.locator(".st-key-class-reveal button").click()
    for student in (ann, bob):
        student.locator(".st-key-lesson-result").wait_for()
    wall.locator(".projector-result").wait_for()
    wall.locator(".js-plotly-plot").wait_for()
    assert not wall.evaluate(SMALLEST)
    crowd.wait(lambda student: 1 in student.results)
    crowd.leave()
    assert not crowd.problems()
    ann.locator(".st-key-lesson-again button").click()
    choose(ann, 2)
    teacher.get_by_text("and 1 after the result was shown").wait_for()

    # the projector shows the fullest results at a glance
    leader = Visitor(classes.find(server.root, code).owner)
    for step in (4, 5, 6):
        classes.change(server.root, code, leader, step=step, given=(1, step))
        wall.get_by_role("heading", name=f"{step}. ").wait_for()
        wall.locator(".js-plotly-plot").wait_for()
        assert not wall.evaluate(SMALLEST)
        assert wall.evaluate(SCROLLS) == 0
    classes.change(server.root, code, leader, step=1, given=(1,))

    # neither a walk through the pages nor a restart of the server loses anything
    teacher.get_by_role("link", name="Runs", exact=True).click()
    teacher.get_by_text("You are the teacher here").wait_for()
    settled(teacher)
    teacher.get_by_role("link", name="Lesson", exact=True).click()
    assert teacher.locator(".class-code").inner_text() == code
    port = int(server.url.rpartition(":")[2])
    server.stop()
    server = own_server(port, MIXNN_PASSCODE=PASSCODE)
    go(teacher, server, "lesson", class_code=code, lesson_view="teacher")
    assert teacher.locator(".class-code").inner_text() == code
    go(ann, server, "lesson", guide="1", class_code=code)
    ann.get_by_text("You said: It rises to the end").wait_for()

    # the end: a score, and all answers in one file
    teacher.get_by_role("radio", name="End", exact=True).click()
    ann.get_by_role("heading", name="The end").wait_for()
    ann.get_by_text("of your first predictions came true").wait_for()
    teacher.get_by_text("Before and after").wait_for()
    settled(teacher)
    with teacher.expect_download() as download:
        teacher.locator(".st-key-class-csv button").click()
    rows = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
    assert [row["kind"] for row in rows].count("prediction") == CROWD + 2
    assert [row["kind"] for row in rows].count("answer after the result") == 1
    assert [row["kind"] for row in rows].count("before the lesson") == 10 * (CROWD + 2)
    assert crowd.sent() <= classroom.stored(Path(download.value.path()))  # nothing was lost
    settled(teacher)
