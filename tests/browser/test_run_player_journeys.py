"""Player: a run's first page, its published file, and labels by hand."""

import re

import numpy as np
import pytest

from engine.reports.reader import read_recording
from engine.reports.recording import RecordingWriter
from engine.runs.folder import RunFolder
from tests.browser.conftest import PATIENCE, settled

pytestmark = pytest.mark.slow
READY = ".mixnn-player.ready"


def test_a_run_is_played_published_and_fooled(visit, server, chromium, tmp_path):
    tab = visit("player", run="finished", epoch="2")
    tab.wait_for_selector(READY)
    tab.wait_for_selector('.mixnn-player[data-epoch="2"]')
    tab.keyboard.press("ArrowRight")
    tab.wait_for_url(re.compile(r"epoch=3"))
    tab.locator(".example").first.click()  # a wrong label tells its story
    tab.wait_for_url(re.compile(r"sample=\d+"))
    sample = re.search(r"sample=(\d+)", tab.url)[1]
    assert tab.locator(".facts").inner_text()

    # another page shows the same; back on Player it opens there
    tab.locator(f'.st-key-player-links a[href^="labels"][href*="sample={sample}"]').first.click()
    tab.wait_for_url(re.compile(r"/labels\?.*epoch=3"))
    settled(tab)
    tab.locator(".st-key-run-picker a", has_text="Player").first.click()
    tab.wait_for_selector('.mixnn-player.ready[data-epoch="3"]')
    assert f"sample={sample}" in tab.url
    assert tab.locator(".detail").is_visible()

    tab.get_by_role("button", name="Publish").click()
    save = tab.get_by_role("button", name="Save the page")
    save.wait_for()
    with tab.expect_download() as download:
        save.click()
    download.value.save_as(tmp_path / "run.html")
    context = chromium.new_context(offline=True)
    page, requests = context.new_page(), []
    page.on("request", lambda r: requests.append(r.url))
    page.goto((tmp_path / "run.html").as_uri())
    page.wait_for_selector(READY)
    assert all(url.startswith(("file:", "data:", "blob:")) for url in requests)
    context.close()

    # three labels by hand: two by a click each, and one taken back and given again
    tab.locator("[data-testid='stButtonGroup'] button", has_text="Fool MixNN").click()
    tab.wait_for_selector(".labeler.ready")
    labeler = tab.locator(".labeler")
    labeler.get_by_role("group", name="The label that a click gives").get_by_role(
        "button", name="9", exact=True
    ).click()
    wall = tab.locator(".wall canvas").last
    for x, n in ((20, 1), (70, 2), (120, 3), (120, 2), (120, 3)):
        wall.click(position={"x": x, "y": 20})
        tab.wait_for_selector(f'.labeler[data-wrong="{n}"]')
    labeler.get_by_role("button", name="Train on these labels").click()
    tab.wait_for_url(re.compile(r"run=npz-labels-by-hand"), timeout=2 * PATIENCE)
    tab.locator(".verdict").nth(2).wait_for(timeout=2 * PATIENCE)
    name = re.search(r"run=([^&]+)", tab.url)[1]
    tab.locator(".stMarkdownBadge", has_text="done").first.wait_for(timeout=2 * PATIENCE)
    assert tab.locator(".verdict").count() == 3

    run = RunFolder(server.root / name)
    given, true = run.labels["given"], run.labels["true"]
    wrong = np.flatnonzero(given != true)
    assert (len(wrong), {*given[wrong].tolist()}) == (3, {9})
    assert (run.config.noise, run.config.epochs) == ("none", 12)
    recording = read_recording(RecordingWriter(run).to_bytes())
    now = recording.epochs[0][-1].codes["corrected"][wrong]
    n_corrected = int((now == true[wrong]).sum())
    tab.locator(".verdicts h2", has_text=f"has corrected {n_corrected} of 3 wrong").wait_for()
    texts = tab.locator(".verdict b").all_inner_texts()
    assert sum("corrected at epoch" in text for text in texts) == n_corrected
    # nobody else sees these labels
    other = visit("player", run=name)
    assert f"{name}' is not on this server" in other.locator("body").inner_text()
