"""A class of students without a screen, beside real browsers of its teacher and some students.

    python tests/benchmarks/classroom.py --students 60 --browsers 6 --lesson RUNS --out class.json

Each student joins by the code, hands in the ten questions before and after, predicts at each step
after some seconds of thought, and sees its result when the teacher shows it. The browsers: the
teacher, the projector, and students. Measured: seconds from a student's click to the complete page,
and from a poll to the page that it brings; how long a step that the teacher takes needs until all
have it; memory and processor time of the server. Then the teacher's CSV is compared with what the
students sent. --lesson: a runs folder of a server that has trained the lesson's runs, to be copied;
without it the runs are small ones.
"""

import asyncio
import collections
import csv
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from common import finish, options
from served import server_process, wait_for
from starved import usage
from viewers import Viewer, spread

from app.views.lesson.steps import STEPS
from engine.hardware import hardware_info
from tests.browser.conftest import CHROMIUM, FLAGS, PASSCODE, Server, go, settled

PATIENCE = 180.0  # seconds for the whole class to do something
GOAL = 1.0  # seconds, p95 of what a student asks for


class Student(Viewer):
    """A student of a class. sent: (kind, number of the question) -> the option or percentage."""

    def __post_init__(self):
        super().__post_init__()
        self.sent: dict[tuple[str, int], str] = {}
        self.results: set[int] = set()  # steps whose result it has seen
        self.clicks: list[float] = []  # seconds from a click to the complete page
        self.brought: list[float] = []  # seconds from a poll to the page that it brought
        self._drawn_one = asyncio.Event()

    def on_page(self, seconds: float | None) -> None:
        if seconds is not None:
            self.brought.append(seconds)
        self._drawn_one.set()

    async def attend(self, url: str, code: str, think: float, rng: random.Random) -> None:
        """Join the class, and do what its pages ask for, until cancelled."""
        await self.open("lesson")
        self.fill("lesson-code", code.upper())
        await self._click("Join the class")
        while True:
            self._drawn_one.clear()
            if self._reader.done():
                raise RuntimeError("the server hung up") from self._reader.exception()
            if "lesson-again" in self.buttons and "Change my answer" not in self.buttons:
                self.results.add(self._step())
            if "Hand in" in self.buttons:
                await asyncio.sleep(rng.uniform(0, think))
                await self._hand_in(rng)
            elif "lesson-skip" in self.buttons and self._asked() not in self.sent:
                await asyncio.sleep(rng.uniform(0, think))
                await self._predict(rng)
            else:
                with suppress(TimeoutError):  # the end of a page may be lost, see `Viewer`
                    await asyncio.wait_for(self._drawn_one.wait(), 2.0)

    def place(self) -> str:
        """What its page shows, in short."""
        return (
            f"{[*self.fields]}, {[*self.buttons]}, sent {[*self.sent][-3:]}, problems "
            f"{self.problems}, busy {self.busy}, waits {self.oldest():.1f} s"
        )

    def _asked(self) -> tuple[str, int] | None:
        found = [key for key in self.fields if key.startswith("lesson-answer-")]
        return ("prediction", int(found[0].rpartition("-")[2])) if found else None

    def _step(self) -> int:
        return max((number for kind, number in self.sent if kind == "prediction"), default=0)

    async def _predict(self, rng: random.Random) -> None:
        if (asked := self._asked()) is None:  # the class has moved on
            return
        step = STEPS[asked[1] - 1]
        answer: Any = (
            rng.choice(list(step.options.values())) if step.options else rng.randrange(101)
        )
        self.fill(f"lesson-answer-{step.number}", answer)
        if step.options:  # the button opens with an answer
            await self._whole()
        if "lesson-lock" in self.buttons:
            self.sent[asked] = answer if step.options else f"{answer} %"
            await self._click("lesson-lock")

    async def _hand_in(self, rng: random.Random) -> None:
        for key, radio in list(self.fields.items()):
            _, offset, number = key.split("-")
            kind = {"200": "before the lesson", "300": "after the lesson"}[offset]
            self.sent[kind, int(number)] = rng.choice(radio.options)
            self.fill(key, self.sent[kind, int(number)])
        await self._click("Hand in")

    async def _click(self, button: str) -> None:
        self.clicks.append((await self.press(button)).seconds)


class Crowd:
    """Students in a thread of its own, while the teacher's browser leads them."""

    def __init__(self, url: str, code: str, n: int, think: float):
        self.students: list[Student] = []
        self.failures: list[BaseException] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._attend(url, code, n, think)), daemon=True
        )
        self._thread.start()

    async def _attend(self, url: str, code: str, n: int, think: float) -> None:
        tasks = []
        for number in range(n):
            student = await Student.join(url)
            self.students.append(student)
            tasks.append(
                asyncio.create_task(student.attend(url, code, think, random.Random(number)))
            )
            await asyncio.sleep(0.3)
        while not self._ended.is_set():
            await asyncio.sleep(0.1)
            self.failures = [e for t in tasks if t.done() and (e := t.exception())]
        for task, student in zip(tasks, self.students, strict=True):
            task.cancel()
            await student.leave()

    def wait(self, done: Callable[[Student], bool]) -> float:
        """Seconds until something holds for all students. Raises what failed for one."""
        began = time.perf_counter()

        def all_done() -> bool:
            if self.failures:
                raise RuntimeError("a student failed") from self.failures[0]
            return all(done(student) for student in self.students)

        try:
            wait_for(all_done, PATIENCE)
        except TimeoutError:
            late = next(student for student in self.students if not done(student))
            raise TimeoutError(f"a student stays at {late.place()}") from None
        return time.perf_counter() - began

    def leave(self) -> None:
        self._ended.set()
        self._thread.join()

    def problems(self) -> list[str]:
        """Errors that pages showed."""
        return sorted({problem for student in self.students for problem in student.problems})

    def sent(self) -> collections.Counter:
        """All answers that were sent: (kind, number of the question, answer) -> how often."""
        return collections.Counter(
            (kind, number, answer)
            for student in self.students
            for (kind, number), answer in student.sent.items()
        )


def stored(path: Path) -> collections.Counter:
    """The answers of the teacher's CSV, in the same form."""
    return collections.Counter(
        (row["kind"], int(row["question"].partition(".")[0]), row["answer"])
        for row in csv.DictReader(path.read_text().splitlines())
    )


# --- the browsers


def start_class(teacher: Any) -> str:
    """Start a class in the teacher's browser; gives its code."""
    teacher.get_by_label("Passcode").fill(PASSCODE)
    teacher.get_by_role("button", name="Unlock").click()
    teacher.locator(".st-key-class-go button").click()
    return str(teacher.locator(".class-code").inner_text())


def predict(student: Any) -> None:
    """A student's browser answers the question of a step."""
    radios = student.locator(".st-key-lesson-question [data-testid='stRadio'] label")
    if radios.count():
        radios.last.click()
    student.locator(".st-key-lesson-lock button:enabled").click()
    student.get_by_text("The result comes when your teacher shows it").wait_for()


def lead(server: Server, browser: Any, n: int, n_browsers: int, think: float) -> dict[str, Any]:
    """A whole lesson: what was measured, and the teacher's CSV compared with what was sent."""
    context = browser.new_context(accept_downloads=True)
    teacher, wall = context.new_page(), context.new_page()
    for tab in (teacher, wall):
        tab.set_default_timeout(1000 * PATIENCE)
    go(teacher, server, "lesson", lesson_view="teacher")
    code = start_class(teacher)
    go(wall, server, "lesson", guide="1", class_code=code, lesson_view="projector")
    others = []
    for _ in range(n_browsers - 2):
        others.append(browser.new_context().new_page())
        others[-1].set_default_timeout(1000 * PATIENCE)
        go(others[-1], server, "lesson", guide="1", class_code=code)
    before = usage(server.process.pid)
    began = time.perf_counter()
    crowd = Crowd(server.url, code, n, think)
    wait_for(lambda: len(crowd.students) == n, PATIENCE)
    crowd.wait(lambda s: ("before the lesson", 10) in s.sent)
    for page in others:
        page.get_by_role("button", name="Hand in").click()
        page.get_by_text("Thank you").wait_for()
    teacher.get_by_text(f"{n + len(others)} of them answered").wait_for()
    moves: dict[str, float] = {}
    teacher.get_by_role("radio", name="Lesson", exact=True).click()
    for step in STEPS:
        moves[f"step {step.number}"] = crowd.wait(
            lambda s, step=step: (
                s._asked() == ("prediction", step.number) or ("prediction", step.number) in s.sent
            )
        )
        for page in others:
            page.get_by_role("heading", name=f"{step.number}. ").wait_for()
            predict(page)
        crowd.wait(lambda s, step=step: ("prediction", step.number) in s.sent)
        teacher.get_by_text(f"{n + len(others)} answers of class").wait_for()
        teacher.locator(".st-key-class-reveal button:enabled").click()
        moves[f"result {step.number}"] = crowd.wait(lambda s, step=step: step.number in s.results)
        for page in others:
            page.locator(".st-key-lesson-result").wait_for()
        wall.locator(".projector-result").wait_for()
        if step.number < len(STEPS):
            teacher.locator(".st-key-class-next button:enabled").click()
    teacher.get_by_role("radio", name="Questions after", exact=True).click()
    crowd.wait(lambda s: ("after the lesson", 10) in s.sent)
    teacher.get_by_role("radio", name="End", exact=True).click()
    for page in others:
        page.get_by_role("heading", name="The end").wait_for()
    seconds, after = time.perf_counter() - began, usage(server.process.pid)
    teacher.get_by_text("Before and after").wait_for()
    settled(teacher)
    with teacher.expect_download() as download:
        teacher.locator(".st-key-class-csv button").click()
    found = stored(Path(download.value.path()))
    crowd.leave()
    return {
        "clicks": spread([x for student in crowd.students for x in student.clicks]),
        "pages": spread([x for student in crowd.students for x in student.brought]),
        "polls": spread([x for student in crowd.students for x in student.latencies]),
        "moves": moves,
        "seconds": seconds,
        "server": after | {"cpu_seconds": after["cpu_seconds"] - before["cpu_seconds"]},
        "sent": crowd.sent().total(),
        "in_csv": found.total(),
        "lost": (crowd.sent() - found).total(),
        "of_browsers": (found - crowd.sent()).total(),
        "problems": crowd.problems(),
    }


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = options(__doc__)
    parser.add_argument("--students", type=int, default=60)
    parser.add_argument("--browsers", type=int, default=6)
    parser.add_argument("--think", type=float, default=20.0, help="most seconds before an answer")
    parser.add_argument("--lesson", type=Path, help="runs folder with the lesson's runs")
    arguments = parser.parse_args()
    measured_on = hardware_info(torch.device("cpu"))
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        root = Path(place) / "runs"
        if arguments.lesson:
            shutil.copytree(arguments.lesson, root, ignore=shutil.ignore_patterns(".server.lock"))
        else:
            from tests.browser.test_class_journeys import lay_ready

            root.mkdir()
            lay_ready(root)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        with server_process(root, MIXNN_PASSCODE=PASSCODE) as server:
            found = lead(server, browser, arguments.students, arguments.browsers, arguments.think)
        browser.close()
    settings = {"students": arguments.students, "browsers": arguments.browsers}
    settings |= {"think": arguments.think, "small_runs": arguments.lesson is None}
    found["goals"] = {
        "p95 of a click (s)": [GOAL, found["clicks"]["p95"]],
        "p95 of a page that a poll brings (s)": [GOAL, found["pages"]["p95"]],
        "answers lost": [0, found["lost"]],
        "memory (MB)": [2700, found["server"]["rss_mb"]],
    }
    finish("classroom", measured_on, settings, found, arguments.out)


if __name__ == "__main__":
    main()
