"""Journeys over the opening page: it plays by itself, and a pair of one's own grows in it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.app.conftest import wait_until
from tests.browser.conftest import go, settled
from tests.browser.test_looks_journeys import MAX_SHIFT, SHIFTS
from tests.records import read_records

TINY = dict(limit="300", epochs="60", warmup="1", correction_start="2", k="3")


def epoch(tab) -> int:
    return int(tab.locator(".mixnn-player.ready").get_attribute("data-epoch"))


def last(tab) -> int:
    """The last epoch that the player has; -1 where it has none yet."""
    shown = tab.locator(".mixnn-player .epoch").all_inner_texts()
    return int(shown[0].split()[-1]) if shown else -1


def moves(tab) -> None:
    """Wait until the player shows another epoch, without a click."""
    first = epoch(tab)
    tab.wait_for_function(
        """(first) => {
            const host = [...document.querySelectorAll("*")].find((node) =>
                node.shadowRoot?.querySelector(".mixnn-player.ready"));
            const player = host?.shadowRoot.querySelector(".mixnn-player.ready");
            return player && player.dataset.epoch !== first;
        }""",
        arg=str(first),
    )


@contextmanager
def unfinished(tab) -> Iterator[None]:
    """Home without its own player, whose component Streamlit gets only afterwards."""
    held = []
    tab.route("**/BidiComponent*.js", lambda route: held.append(route))
    yield
    for route in held:
        route.continue_()
    tab.unroute("**/BidiComponent*.js")


@pytest.mark.slow
def test_home_plays_by_itself_and_a_pair_grows_in_it(visit, open_server):
    server = open_server
    tab = visit("", on=server)
    moves(tab)
    assert tab.locator("#first-picture").count() == 0
    assert last(tab) == 29
    box = tab.locator(".mixnn-player").bounding_box()
    assert box["y"] + box["height"] <= 720  # all of it, without scrolling
    assert tab.get_by_role("button", name="Start", exact=True).bounding_box()["y"] < 700
    go(tab, server, "", **TINY)  # an older link: to Train, whose settings are those of the pair
    assert "/train?" in tab.url
    tab.get_by_role("link", name="Home", exact=True).click()
    tab.wait_for_url(lambda url: "/train" not in url)
    settled(tab)
    tab.get_by_role("button", name="Start", exact=True).click()
    tab.wait_for_url("**pair=**")
    names = tab.url.split("pair=")[1].split("&")[0].replace("%2C", ",").split(",")
    tab.wait_for_function("document.body.innerText.includes('of 59')")
    wait_until(lambda: 0 < last(tab) != 29)  # no longer the shipped recording
    tab.locator(".st-key-home-try input[aria-label=K]").focus()
    for _ in range(2):
        tab.keyboard.press("ArrowRight")
    shown = lambda run: read_records(server.root / run)  # noqa: E731
    wait_until(lambda: shown(names[1])[-1]["settings"]["k"] == 5)
    assert {record["settings"]["k"] for record in shown(names[0])} == {3}
    other = visit("", on=server, pair=",".join(names))  # shared with somebody else
    seen = last(other)
    wait_until(lambda: last(other) > seen)
    tab.get_by_text("Both are done").wait_for(timeout=300_000)
    wait_until(lambda: last(tab) == 59)
    tab.get_by_role("link", name="Compare", exact=True).last.click()
    tab.wait_for_url("**/compare?**")
    assert names[0] in tab.url
    tab.go_back()
    tab.wait_for_url(lambda url: "compare" not in url.split("?")[0])
    tab.locator(".mixnn-player.ready").wait_for()


@pytest.mark.slow
def test_home_stands_still_for_whoever_prefers_it_and_fits_a_phone(chromium, server):
    context = chromium.new_context(
        viewport={"width": 390, "height": 844}, reduced_motion="reduce", color_scheme="dark"
    )
    tab = context.new_page()
    tab.add_init_script(SHIFTS)
    with unfinished(tab):
        tab.goto(server.url)
        tab.locator("#first-picture .mixnn-player.ready[data-theme=dark]").wait_for()
        tab.locator("[data-testid=stHeading]").wait_for()
        early = [tab.locator(name).first.bounding_box() for name in ("h2", ".mixnn-player")]
    settled(tab)
    tab.locator("#root .mixnn-player.ready[data-theme=dark]").wait_for()
    assert tab.locator("#first-picture").count() == 0
    late = [tab.locator(name).first.bounding_box() for name in ("h2", ".mixnn-player")]
    assert late == [pytest.approx(box, abs=1.5) for box in early]
    assert tab.evaluate("window.shifts") < MAX_SHIFT
    first = epoch(tab)
    tab.wait_for_timeout(1500)
    assert epoch(tab) == first
    assert tab.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390
    tab.keyboard.press("Escape")
    tab.evaluate("document.activeElement?.blur()")
    tab.keyboard.press("ArrowRight")  # keys that no widget takes are the player's
    moved = tab.locator(f".mixnn-player[data-epoch='{first + 1}']")
    moved.wait_for()
    with unfinished(tab):
        tab.set_viewport_size({"width": 1280, "height": 720})
        tab.goto(server.url)
        tab.locator("#first-picture .mixnn-player.ready").wait_for()
        tab.get_by_role("link", name="Runs", exact=True).click()
        tab.locator("#first-picture").wait_for(state="detached")  # it is of Home alone
    context.close()
