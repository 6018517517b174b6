"""A recorded training loop on every page, as a browser shows it."""

import pytest

from tests.browser.conftest import go
from tests.browser.test_page_journeys import PAGES
from tests.runs.test_recorder import plain_torch


@pytest.mark.slow
def test_every_page_opens_a_recorded_loop(visit, open_server):
    plain_torch(open_server.root / "loop")
    tab = visit("", on=open_server, run="loop")
    tab.get_by_text("custom: plain-torch").first.wait_for()
    for page in PAGES[1:]:
        only = {"map": {"layout": "pca"}, "compare": {"compare": "loop"}}.get(page, {})
        go(tab, open_server, page, run="loop", sample="3", **only)
        text = tab.locator("[data-testid=stMain]").inner_text()
        assert "Unexpected error" not in text, page
        if page == "map":
            tab.locator("canvas").first.wait_for()
        if page == "sample":
            tab.locator(".facts img").first.wait_for()
