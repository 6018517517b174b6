"""Journeys over the Train and Runs pages in a real browser."""

import re

import pytest

from tests.app.conftest import n_epochs, wait_until
from tests.browser.conftest import PASSCODE, settled
from tests.records import read_records


def start(tab) -> str:
    """Press Start; returns the run's name from the address."""
    before = tab.url
    tab.get_by_role("button", name="Start", exact=True).click()
    tab.wait_for_url(lambda url: url != before and "run=" in url)
    return re.search(r"run=([^&]+)", tab.url)[1]


def button(tab, name: str):
    return tab.get_by_role("button", name=name, exact=True)


def wait_for_epochs(server, name: str, count: int) -> None:
    path = server.root / name / "epochs.jsonl"
    wait_until(lambda: path.exists() and n_epochs(server.root / name) >= count)


def state(tab, word: str) -> None:
    """Wait for a run's badge to say this."""
    tab.locator(".stMarkdownBadge", has_text=word).first.wait_for(timeout=60_000)


LONG = dict(limit="300", epochs="4000", warmup="1", correction_start="2", k="3")


@pytest.mark.slow
def test_one_click_to_a_finished_digits_run(visit, own_server):
    server = own_server()
    tab = visit(on=server)
    tab.get_by_text("ten seconds").wait_for()
    name = start(tab)
    state(tab, "running")
    tab.locator("[data-testid='stVegaLiteChart']").first.wait_for()
    state(tab, "done")
    records = read_records(server.root / name)
    assert len(records) == 30
    right = f"{100 * records[-1]['metrics']['label_accuracy']:.1f} %"
    tab.get_by_test_id("stMetricValue").get_by_text(right).first.wait_for()


@pytest.mark.slow
def test_alpha_changes_while_it_trains_and_the_curves_say_so(visit, server):
    tab = visit(**LONG)
    name = start(tab)
    wait_for_epochs(server, name, 3)
    alpha = tab.get_by_role("slider", name="Alpha from the next epoch on")
    alpha.focus()
    for _ in range(5):
        tab.keyboard.press("ArrowLeft")
    settings = lambda: read_records(server.root / name)[-1]["settings"]  # noqa: E731
    wait_until(lambda: abs(settings()["alpha"] - 0.75) < 1e-9)
    marks = tab.locator("[data-testid='stVegaLiteChart']").first.locator("text=alpha 0.8")
    marks.first.wait_for()
    button(tab, "Stop").click()
    state(tab, "stopped")


@pytest.mark.slow
def test_a_reload_in_mid_run_finds_the_run_again(visit, server):
    tab = visit(**LONG)
    name = start(tab)
    wait_for_epochs(server, name, 2)
    tab.reload()
    settled(tab)
    state(tab, "running")
    done = n_epochs(server.root / name)
    wait_for_epochs(server, name, done + 3)
    button(tab, "Stop").click()  # the same visitor as before, so he may
    state(tab, "stopped")


@pytest.mark.slow
def test_pause_step_go_on_stop_resume(visit, server):
    tab = visit(**LONG)
    name = start(tab)
    wait_for_epochs(server, name, 2)
    button(tab, "Pause").click()
    state(tab, "paused")
    before = n_epochs(server.root / name)
    button(tab, "Step").click()
    wait_for_epochs(server, name, before + 1)
    tab.wait_for_timeout(1500)  # the page has looked again: the old "paused" is not meant
    state(tab, "paused")
    button(tab, "Continue").click()
    wait_for_epochs(server, name, before + 4)
    button(tab, "Stop").click()
    state(tab, "stopped")
    stopped = n_epochs(server.root / name)
    button(tab, "Resume").click()
    wait_for_epochs(server, name, stopped + 2)
    button(tab, "Stop").click()
    state(tab, "stopped")


@pytest.mark.slow
def test_two_browsers_at_once(visit, own_server):
    server = own_server(MIXNN_SLOTS="1")
    ann, bob = visit(on=server, **LONG), visit(on=server, **LONG)
    hers = start(ann)
    wait_for_epochs(server, hers, 2)
    his = start(bob)
    bob.get_by_text("it is the next one").wait_for()
    bob.goto(f"{server.url}/?run={hers}")
    settled(bob)
    state(bob, "running")
    assert button(bob, "Stop").is_disabled()
    button(ann, "Stop").click()
    state(ann, "stopped")
    bob.goto(f"{server.url}/?run={his}")
    settled(bob)
    state(bob, "running")
    wait_for_epochs(server, his, 2)


@pytest.mark.slow
def test_a_restart_of_the_server_loses_no_epoch(visit, own_server):
    server = own_server()
    tab = visit(on=server, **LONG)
    name = start(tab)
    wait_for_epochs(server, name, 3)
    server.process.kill()
    server.process.wait()
    done = n_epochs(server.root / name)
    server = own_server()
    tab = visit(on=server, run=name)
    state(tab, "interrupted")
    tab.get_by_text(f"the process ended after {done} epochs").wait_for()
    teach(tab)
    tab.goto(f"{server.url}/?run={name}")
    settled(tab)
    assert button(tab, "Resume").is_disabled()  # another browser: it is not his run


def teach(tab) -> None:
    """Nothing here: a server without a passcode has no teacher."""
    tab.goto(tab.url.partition("?")[0].rsplit("/", 1)[0] + "/runs")
    settled(tab)
    tab.get_by_text("I am the teacher").click()
    tab.get_by_text("MIXNN_PASSCODE").wait_for()


@pytest.mark.slow
def test_the_teacher_stops_a_run_of_somebody_else(visit, server):
    pupil = visit(**LONG)
    name = start(pupil)
    wait_for_epochs(server, name, 1)
    teacher = visit("runs")
    teacher.get_by_text("I am the teacher").click()
    teacher.get_by_label("Passcode").fill("guess")
    button(teacher, "Unlock").click()
    teacher.get_by_text("That is not the passcode").wait_for()
    teacher.wait_for_timeout(1100)  # one try a second
    teacher.get_by_label("Passcode").fill(PASSCODE)
    button(teacher, "Unlock").click()
    teacher.get_by_text("You are the teacher here").wait_for()
    teacher.locator(f"[class*='st-key-stop-{re.sub(r'[^A-Za-z0-9_-]', '-', name)}'] button").click()
    state(pupil, "stopped")
