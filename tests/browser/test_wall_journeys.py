"""Journeys over the wall of Your data: groups by key, by mouse and by touch; a server that dies."""

import re
import shutil

import numpy as np
import pytest

from app.server.decisions import Reviews
from engine.analysis.label_issues import label_issues
from engine.analysis.review_order import by_pair, doubt_of
from engine.files import read_json, write_json
from engine.runs.folder import RunFolder
from tests.app.conftest import wait_until
from tests.browser.conftest import PATIENCE, go

pytestmark = pytest.mark.slow
WALL = dict(step="review", desk_view="wall")


def groups_of(folder) -> list[list[int]]:
    """The samples of each group of pairs, in the wall's order."""
    issues = label_issues(RunFolder(folder))
    doubt = doubt_of(issues)
    order = doubt.order
    grouping = by_pair(issues.given[order], issues.suggested[order], doubt.wrong[order])
    ends = np.cumsum(grouping.sizes)
    return [part.tolist() for part in np.split(order[grouping.order], ends[:-1])]


def ready(tab) -> None:
    tab.locator(".tile .image[style*=url]").first.wait_for()


def saved(tab) -> None:
    tab.locator(".saved", has_text="✓ Saved").wait_for(timeout=180_000)


def stored(folder) -> dict[int, tuple[str, int]]:
    latest = Reviews(folder, 500, 10).latest()
    return {sample: (d.kind, d.label) for sample, d in latest.items()}


def test_groups_by_key_and_nothing_is_lost_when_the_server_is_killed(
    visit, own_server, finished_folder
):
    own = own_server()
    folder = shutil.copytree(finished_folder, own.root / "finished")
    port = int(own.url.rpartition(":")[2])
    given = RunFolder(folder).labels["given"]
    groups = groups_of(folder)
    expected: dict[int, tuple[str, int]] = {}
    tab = visit("your_data", on=own, run="finished", **WALL)
    ready(tab)

    def decide(numbers) -> None:
        for number in numbers:
            label = number % 10
            for sample in groups[number]:
                expected[sample] = ("keep" if given[sample] == label else "change", label)
            for _ in range(5):
                tab.keyboard.press("a")
                tab.keyboard.press(str(label))
                if tab.locator(".numbers").inner_text().startswith(f"{len(expected)} of"):
                    break
                tab.keyboard.press(
                    "Escape"
                )  # Streamlit's notice of the lost connection has the keys
            else:
                raise AssertionError(tab.locator(".numbers").inner_text())

    decide(range(8))
    own.process.kill()  # perhaps with some of them on their way
    decide(range(8, 30))
    tab.locator(".saved", has_text="kept in this browser").wait_for()
    own.process.wait()
    own = own_server(port)
    saved(tab)
    assert stored(folder) == expected
    for number in (29, 28):
        tab.keyboard.press("u")
        for sample in groups[number]:
            del expected[sample]
    tab.wait_for_timeout(300)
    saved(tab)
    assert stored(folder) == expected

    own.process.kill()
    decide([28])
    tab.close()  # with a decision that no server has
    own.process.wait()
    own = own_server(port)
    again = tab.context.new_page()
    again.set_default_timeout(PATIENCE)
    go(again, own, "your_data", run="finished", **WALL)
    ready(again)
    saved(again)
    wait_until(lambda: stored(folder) == expected)
    again.keyboard.press("u")  # also after a reload
    wait_until(lambda: len(stored(folder)) == len(expected) - len(groups[28]))


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (390, 844)])
def test_click_range_drag_preview_remove_and_open(
    visit, open_server, finished_folder, width, height
):
    folder = shutil.copytree(finished_folder, open_server.root / f"wall-{width}")
    where = dict(on=open_server, run=folder.name, width=width, height=height)
    tab = visit("your_data", **where, **WALL)
    ready(tab)
    tab.get_by_role("button", name="Doubt", exact=True).click()
    tiles = tab.get_by_role("gridcell")
    first = tiles.first.get_attribute("aria-label")
    sample, given, other = map(
        int, re.match(r"Sample (\d+), labeled (\d), looks like (\d)", first).groups()
    )
    tiles.nth(0).click()
    tiles.nth(2).click(modifiers=["Shift"])
    tab.locator(".foot .n", has_text="3 selected").wait_for()
    assert [tiles.nth(i).get_attribute("aria-selected") for i in range(4)] == [
        *["true"] * 3,
        "false",
    ]
    tab.keyboard.press("Escape")
    start, end = tiles.nth(0).bounding_box(), tiles.nth(1).bounding_box()
    tab.mouse.move(start["x"] + 5, start["y"] + 5)
    tab.mouse.down()
    tab.mouse.move(end["x"] + 10, end["y"] + 10, steps=5)
    tab.mouse.up()
    tab.locator(".foot .n", has_text="2 selected").wait_for()
    tab.keyboard.press("Enter")
    dialog = tab.get_by_role("dialog")
    assert re.search(
        r"Expected mistakes in it: (about|fewer than) [\d.]+ of 2", dialog.inner_text()
    )
    assert stored(folder) == {}
    tab.keyboard.press("Enter")
    wait_until(lambda: len(stored(folder)) == 2)
    assert stored(folder)[sample] == ("change", other)
    tab.locator(".tile.decided").first.wait_for()
    assert f"changed to {other}" in tiles.first.get_attribute("aria-label")
    tab.keyboard.press("x")
    wait_until(lambda: len(stored(folder)) == 3)
    assert sorted(kind for kind, _ in stored(folder).values()) == ["change", "change", "remove"]
    tab.keyboard.press("o")
    tab.get_by_text("What does it show?").wait_for()


def test_names_by_others_are_text(visit, open_server, finished_folder):
    """A class whose name is markup is shown as it is."""
    folder = shutil.copytree(finished_folder, open_server.root / "named")
    config = read_json(folder / "config.json")
    config["data"]["classes"][0] = '<img src=x onerror="window.acted=1">'
    write_json(folder / "config.json", config)
    tab = visit("your_data", on=open_server, run=folder.name, **WALL)
    ready(tab)
    assert "<img src=x onerror=" in tab.locator(".classes").inner_text()
    assert tab.evaluate("window.acted") is None
