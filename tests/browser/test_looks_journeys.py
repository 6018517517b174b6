"""Nothing jumps while a page loads, none is too wide, and axe finds no barrier, light or dark."""

import pytest

from tests.browser.conftest import PATIENCE, go
from tests.browser.test_page_journeys import PAGES, too_wide

MAX_SHIFT = 0.1  # "good" by Google's Web Vitals
# cumulative layout shift (web.dev/articles/cls): the largest sum of shifts that are less than 1 s
# apart, within 5 s
SHIFTS = """
window.shifts = 0;
let first = 0, last = -Infinity, sum = 0;
new PerformanceObserver((list) => {
  for (const { hadRecentInput, startTime, value } of list.getEntries()) {
    if (hadRecentInput) continue;
    if (startTime - last > 1000 || startTime - first > 5000) [first, sum] = [startTime, 0];
    [last, sum] = [startTime, sum + value];
    window.shifts = Math.max(window.shifts, sum);
  }
}).observe({ type: "layout-shift", buffered: true });
"""
STREAMLITS_OWN = {  # rule of axe -> elements that Streamlit draws and that no option changes
}
STILL = "document.getAnimations().every((one) => one.playState !== 'running')"
COMPLETE = """
document.querySelector('.stApp')?.getAttribute('data-test-script-state') !== 'running'
  && !document.querySelector('[data-testid=stSkeleton], [data-testid=stAppSkeleton]')
"""


def violations(tab, theme: str) -> list[str]:
    """What axe finds, except for what only Streamlit can change."""
    from axe_playwright_python.sync_playwright import Axe  # late: not where chromium is missing

    tab.emulate_media(color_scheme=theme)
    tab.wait_for_timeout(300)
    tab.wait_for_function(STILL)  # colors fade over
    options: dict = {"resultTypes": ["violations"]}  # without a text for all that is right
    if theme == "dark":
        options["runOnly"] = ["color-contrast"]  # all else is the same
    found = Axe().run(tab, options=options).response["violations"]
    return [
        f"{theme}, {violation['id']}: {node['html'][:200]}"
        for violation in found
        for node in violation["nodes"]
        if not any(part in node["html"] for part in STREAMLITS_OWN.get(violation["id"], ()))
    ]


@pytest.mark.slow
def test_no_page_jumps_is_too_wide_or_has_a_barrier(visit, server):
    tab = visit("runs")
    tab.set_default_timeout(3 * PATIENCE)  # every part of every page
    tab.add_init_script(SHIFTS)
    shifts, wide, barriers = {}, {}, {}
    for page in PAGES:
        go(tab, server, page, run="finished", sample="3")
        tab.wait_for_function(COMPLETE)
        tab.wait_for_timeout(300)
        shifts[page] = round(tab.evaluate("window.shifts"), 3)
        wide[page] = too_wide(tab, 1280)
        barriers[page] = violations(tab, "light") + violations(tab, "dark")
        tab.emulate_media(color_scheme="light")
    assert {page: shift for page, shift in shifts.items() if shift > MAX_SHIFT} == {}
    assert {page: ends for page, ends in wide.items() if ends} == {}
    assert {page: found for page, found in barriers.items() if found} == {}
