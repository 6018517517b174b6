"""Names of strangers in a real browser: no request leaves, no foreign link, nothing runs."""

import re
from urllib.parse import quote

import pytest

from tests.browser.conftest import go, serve
from tests.hostile import NAMES, PAGES, named_by_strangers

LINKS = """links => links.map(link => link.getAttribute("href")
    || link.getAttributeNS("http://www.w3.org/1999/xlink", "href") || "")"""


@pytest.fixture(scope="module")
def strange(tmp_path_factory, chromium, server):
    """A server over one run whose every text is hostile, and its name."""
    root = tmp_path_factory.mktemp("strange") / "runs"
    root.mkdir()
    name = named_by_strangers(server.root / "finished", root)
    running = serve(root)
    yield running, name
    running.stop()


@pytest.mark.slow
def test_no_name_leads_or_calls_out(strange, visit):
    server, name = strange
    run = quote(name)
    tab = visit("", on=server, run=run)
    left, dialogs = [], []
    tab.on("request", lambda request: left.append(request.url))
    tab.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    requests = [(page, {"run": run} | params) for page, params in PAGES]
    requests += [("compare", {"compare": quote(",".join(NAMES[:3])), "run": quote(NAMES[0])})]
    requests += [("losses", {"epoch": quote(NAMES[1]), "dataset": quote(NAMES[0])})]
    for page, params in requests:
        go(tab, server, page, **params)
        tab.wait_for_timeout(700)  # charts are drawn a moment later
        links = tab.eval_on_selector_all("a", LINKS)  # of HTML, and of the figures' SVG
        others = [link for link in links if re.match("[a-zA-Z]+:|//", link)]
        foreign = [link for link in others if not link.startswith((server.url, "data:"))]
        assert foreign == [], (page, params)
        assert tab.locator(".katex").count() == 0, (page, params)
    own = (server.url, server.url.replace("http", "ws", 1), "data:", "blob:")
    assert [url for url in left if not url.startswith(own)] == []
    assert dialogs == []


@pytest.mark.slow
def test_an_address_of_no_page_is_answered_politely(strange, visit):
    server, _ = strange
    tab = visit("no_such_page", on=server)
    tab.get_by_text("More settings").first.wait_for()  # of Home
    assert "not" in tab.inner_text("[role=dialog]").lower()
