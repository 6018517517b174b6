"""Journeys over the Train and Runs pages in a real browser."""

import re

import pytest

from tests.app.conftest import n_epochs, wait_until
from tests.browser.conftest import PASSCODE, go, settled
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
    tab.locator(".stMarkdownBadge", has_text=word).first.wait_for()


LONG = dict(limit="300", epochs="4000", warmup="1", correction_start="2", k="3")


def one_click_to_a_finished_digits_run(tab, server) -> None:
    tab.get_by_text("ten seconds").wait_for()
    name = start(tab)
    state(tab, "running")
    tab.locator("[data-testid='stVegaLiteChart']").first.wait_for()
    tab.locator(".stMarkdownBadge", has_text="done").first.wait_for(timeout=300_000)
    records = read_records(server.root / name)
    assert len(records) == 30
    right = f"{100 * records[-1]['metrics']['label_accuracy']:.1f} %"
    tab.get_by_test_id("stMetricValue").get_by_text(right).first.wait_for()


@pytest.mark.slow
def test_a_run_is_changed_found_again_paused_and_stopped_by_the_teacher(visit, server):
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

    tab.reload()
    settled(tab)
    state(tab, "running")
    wait_for_epochs(server, name, n_epochs(server.root / name) + 3)

    button(tab, "Pause").click()  # the same visitor as before, so he may
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
    state(tab, "running")

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
    state(tab, "stopped")


@pytest.mark.slow
def test_a_new_server_two_browsers_at_once_and_a_restart(visit, own_server):
    server = own_server(MIXNN_SLOTS="1")
    ann, bob = visit(on=server), visit(on=server, **LONG)
    one_click_to_a_finished_digits_run(ann, server)
    go(ann, server, "train", **LONG)
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
    wait_for_epochs(server, his, 3)

    server.process.kill()
    server.process.wait()
    done = n_epochs(server.root / his)
    server = own_server()
    # a link opens its view as the first thing that a server sees
    tab = visit("losses", on=server, run=his, epoch="1", sample="17")
    tab.get_by_text(f"Epoch 1 of {done - 1}").wait_for()
    tab.get_by_text("sample 17", exact=False).first.wait_for()
    assert "epoch=1" in tab.url
    go(tab, server, run=his)
    state(tab, "interrupted")
    tab.get_by_text(f"the process ended after {done} epochs").wait_for()
    assert button(tab, "Resume").is_disabled()  # another browser: it is not his run
    go(tab, server, "runs")
    tab.get_by_text("I am the teacher").click()  # but without a passcode there is none
    tab.get_by_text("MIXNN_PASSCODE").wait_for()
