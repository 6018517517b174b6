"""Journeys over the Map page in a real browser: hover, pick, lasso, zoom, while a run goes on."""

import re

import pytest

from tests.app.conftest import wait_until
from tests.browser.conftest import settled
from tests.browser.test_train_journeys import LONG, button, start, state, wait_for_epochs

CARD = ".card:not([hidden])"


def canvas(tab):
    """The map's canvas, drawn."""
    marks = tab.locator("canvas.marks")
    marks.wait_for()
    marks.scroll_into_view_if_needed()
    wait_until(lambda: described(tab) is not None)
    return marks


def described(tab) -> tuple[float, int] | None:
    """Zoom and the number of selected points, as described to a screen reader."""
    text = tab.locator("canvas.marks").get_attribute("aria-description") or ""
    found = re.match(r"Zoom ([\d.]+), (\d+) points", text)
    return found and (float(found[1]), int(found[2]))


def scale(tab) -> float:
    """CSS pixels for a unit of the layout, which a zoom that follows the points leaves alone."""
    return float(tab.locator("canvas.marks").get_attribute("data-scale"))


def thumb(tab) -> str:
    """What the card's picture shows, as CSS says it."""
    return tab.locator(f"{CARD} .thumb").evaluate("e => getComputedStyle(e).backgroundImage")


def place(tab, x: float, y: float) -> tuple[float, float]:
    """A place on the map, in shares of its width and height, on the screen."""
    box = tab.locator("canvas.marks").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def draw_lasso(tab, *corners: tuple[float, float]) -> None:
    tab.keyboard.down("Shift")
    tab.mouse.move(*place(tab, *corners[0]))
    tab.mouse.down()
    for corner in corners[1:]:
        tab.mouse.move(*place(tab, *corner), steps=4)
    tab.mouse.up()
    tab.keyboard.up("Shift")


def a_point(tab) -> tuple[float, float]:
    """Somewhere on the map where there is a point, found as a hand would find it."""
    for y in range(20, 90, 6):
        for x in range(15, 85, 4):
            tab.mouse.move(*place(tab, x / 100, y / 100))
            if "pointing" in (tab.locator("canvas.marks").get_attribute("class") or ""):
                return place(tab, x / 100, y / 100)
    raise AssertionError("no point on the map")


WHOLE = (0.05, 0.05), (0.95, 0.05), (0.95, 0.95), (0.05, 0.95)


def test_hover_shows_a_card_and_a_click_chooses_the_sample(visit):
    tab = visit("map", run="finished", epoch=5, layout="pca")
    canvas(tab)
    x, y = a_point(tab)
    tab.locator(CARD).wait_for()
    words = tab.locator(CARD).inner_text()
    assert "P(clean)" in words
    wait_until(lambda: thumb(tab) != "none")  # its sprite sheet is created on request
    address = re.search(r'url\("(.*)"\)', thumb(tab))[1]
    assert tab.request.get(address).headers["content-type"] == "image/png"
    tab.mouse.click(x, y)
    tab.wait_for_url("**sample=*")
    tab.get_by_text("Open this sample").wait_for()


@pytest.mark.slow
def test_a_lasso_fills_the_table_stands_in_the_url_and_keys_clear_it_and_zoom(visit):
    tab = visit("map", run="finished", epoch=5, layout="pca")
    canvas(tab)
    draw_lasso(tab, *WHOLE)
    tab.wait_for_url("**lasso=*")
    n = described(tab)[1]
    assert n > 0
    tab.get_by_role("heading", name=f"{n} selected samples").wait_for()
    other = visit("map")
    other.goto(tab.url)
    settled(other)
    canvas(other)
    wait_until(lambda: described(other)[1] == n)
    tab.keyboard.press("Escape")
    tab.wait_for_url(lambda url: "lasso=" not in url)
    wait_until(lambda: described(tab)[1] == 0)
    canvas(tab).focus()
    for _ in range(3):
        tab.keyboard.press("+")
    wait_until(lambda: described(tab)[0] > 2)
    tab.keyboard.press("0")
    wait_until(lambda: described(tab)[0] == 1)


@pytest.mark.slow
def test_lasso_and_zoom_survive_the_updates_of_a_live_run(visit, server):
    tab = visit(**LONG)
    name = start(tab)
    try:
        wait_for_epochs(server, name, 3)
        tab.goto(f"{server.url}/map?run={name}&layout=pca")
        settled(tab)
        canvas(tab)
        tab.locator("canvas.marks").evaluate("e => { e.same = true }")
        tab.mouse.move(*place(tab, 0.5, 0.5))
        for _ in range(4):
            tab.mouse.wheel(0, -120)
        draw_lasso(tab, *WHOLE)
        tab.wait_for_url("**lasso=*")
        settled(tab)
        zoom, n = described(tab)
        assert zoom > 1.5
        assert n > 0
        tab.get_by_role("heading", name=f"{n} selected samples").wait_for()  # all has its place now
        seen = scale(tab)
        note = tab.locator(".note").inner_text()
        for _ in range(3):
            wait_until(lambda: tab.locator(".note").inner_text() != note)  # noqa: B023
            note = tab.locator(".note").inner_text()
            # whether the points spread out or draw together: what is seen keeps its size
            assert scale(tab) == pytest.approx(seen, rel=1e-3)
            assert described(tab)[1] == n
        assert tab.locator("canvas.marks").evaluate("e => e.same")
        assert tab.locator("canvas.marks").count() == 1
    finally:
        tab.goto(f"{server.url}/?run={name}")
        settled(tab)
        button(tab, "Stop").click()
        state(tab, "stopped")  # or it would keep its place from the next test
