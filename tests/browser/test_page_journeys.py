"""The pages of a finished run: by keyboard, by link, by mouse, on every screen size."""

import csv
import json
import re

import numpy as np
import pytest

from engine.runs.folder import RunFolder
from tests.app.conftest import wait_until
from tests.browser.conftest import go, settled
from tests.browser.test_train_journeys import button, start, wait_for_epochs

PAGES = (
    "",
    "train",
    "noise",
    "losses",
    "map",
    "sample",
    "labels",
    "compare",
    "your_data",
    "lesson",
    "runs",
)


def too_wide(tab, width: int) -> list[float]:
    """Right ends in pixels, of the page and of its charts, that lie beyond the window's."""
    for _ in range(20):  # charts take their width a moment after the page is drawn
        if not (wide := _too_wide(tab, width)):
            break
        tab.wait_for_timeout(250)
    return wide


def _too_wide(tab, width: int) -> list[float]:
    ends = [tab.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")]
    pictures = tab.locator("[data-testid='stPlotlyChart'], [data-testid='stVegaLiteChart']")
    boxes = [pictures.nth(i).bounding_box() for i in range(pictures.count())]
    ends += [box["x"] + box["width"] - 1 for box in boxes if box]
    return [end for end in ends if end > width]


@pytest.mark.slow
def test_every_page_fits_a_phone(visit, server):  # and a projector: test_looks_journeys
    tab = visit(width=390, height=844, theme="dark")
    for page, more in [*((page, {}) for page in PAGES), ("compare", {"experiment": "detection"})]:
        go(tab, server, page, run="finished", epoch="6", sample="3", **more)
        assert not too_wide(tab, 390), page


def press(tab, key: str, words: str) -> None:
    """Press a key until the page reacts; on a busy machine it may miss some."""
    from playwright.sync_api import TimeoutError as NotSeen  # late: not where chromium is missing

    for _ in range(3):
        tab.keyboard.press(key)
        try:
            tab.get_by_text(words).wait_for(timeout=8000)
        except NotSeen:
            continue
        return
    raise AssertionError(f"{key} did not show {words!r}")


@pytest.mark.slow
def test_keys_walk_through_the_epochs_and_the_picture_is_saved_as_png(visit):
    tab = visit("losses", run="finished", epoch="8")
    tab.get_by_text("Epoch 8 of 11").wait_for()
    chart = tab.locator(".js-plotly-plot", has=tab.locator(".epoch-line"))
    chart.evaluate("chart => { chart.drawnBefore = true; }")
    at = tab.locator(".epoch-line").bounding_box()["x"]
    press(tab, "ArrowLeft", "Epoch 7 of 11")
    press(tab, "ArrowLeft", "Epoch 6 of 11")
    wait_until(lambda: tab.locator(".epoch-line").bounding_box()["x"] < at - 10)
    assert chart.evaluate("chart => chart.drawnBefore"), "the chart was drawn again"
    press(tab, "ArrowRight", "Epoch 7 of 11")
    tab.keyboard.press("Space")
    tab.get_by_text("Epoch 11 of 11").wait_for()
    tab.wait_for_url(lambda url: "epoch=11" in url)
    chart.hover()
    with tab.expect_download() as caught:
        chart.locator(".modebar-btn[data-title*='ownload']").first.click()
    assert caught.value.path().read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_what_is_chosen_goes_along_to_the_next_page_and_back(visit):
    tab = visit("losses", run="finished", epoch="4")
    tab.get_by_text("Epoch 4 of 11").wait_for()
    tab.get_by_role("link", name="Labels", exact=True).first.click()
    tab.get_by_role("heading", name="Did correction work?").wait_for()
    tab.get_by_text("Epoch 4 of 11").wait_for()
    tab.wait_for_url(lambda url: "epoch=4" in url)


def test_a_corrected_sample_is_inspected_and_mixed_by_hand(visit, server):
    run = RunFolder(server.root / "finished")
    row = 11
    corrected = run.array("soft")[row].argmax(1) != run.labels["given"]
    tab = visit("sample", run="finished", epoch=str(row), search="corrected", part="mix")
    tab.wait_for_url(lambda url: "sample=" in url)
    sample = int(re.search(r"sample=(\d+)", tab.url)[1])
    assert corrected[sample]
    tab.get_by_role("heading", name="Mix by hand").scroll_into_view_if_needed()
    own = tab.get_by_role("slider", name="Weight of the sample itself")
    own.focus()
    before = int(own.input_value())
    for _ in range(3):
        own.press("ArrowRight" if before < 90 else "ArrowLeft")
    tab.wait_for_url(lambda url: "mix=" in url)
    tab.get_by_alt_text("the image mixed by hand").wait_for()
    tab.get_by_text("for the plain image").wait_for()
    tab.get_by_role("heading", name="What did MixNN do").click()  # away from the slider
    tab.keyboard.press("n")
    tab.wait_for_url(lambda url: f"sample={sample}" not in url)
    assert "mix=" not in tab.url


@pytest.mark.slow
def test_an_own_noise_matrix_is_loaded_used_and_trained(visit, server, tmp_path):
    matrix = np.eye(10)
    matrix[3, 3], matrix[3, 8] = 0.5, 0.5
    path = tmp_path / "matrix.csv"
    np.savetxt(path, matrix, delimiter=",")
    settings = dict(limit="300", epochs="3", warmup="1", correction_start="2")
    tab = visit("noise", run="finished", part="matrix", **settings)
    tab.get_by_role("button", name="Load a CSV").click()
    tab.locator("input[type=file]").set_input_files(path)
    table = tab.get_by_role("grid", include_hidden=True)
    table.get_by_role("gridcell", name="0.5", include_hidden=True).first.wait_for(state="attached")
    settled(tab)
    button(tab, "Use this matrix").click()
    tab.get_by_role("link", name="Start it on Train").click()
    tab.get_by_role("heading", name="What is happening now?").wait_for()
    name = start(tab)
    wait_for_epochs(server, name, 3)
    run = RunFolder(server.root / name)
    assert run.config.noise == "matrix"
    assert run.labels["matrix"] == pytest.approx(matrix)
    wrong = run.labels["given"] != run.labels["true"]
    assert set(run.labels["true"][wrong]) == {3}
    assert set(run.labels["given"][wrong]) == {8}


def test_cross_entropy_against_mixnn(visit, server):
    tab = visit("compare", limit="300", epochs="4", warmup="1", correction_start="2", k="3")
    tab.get_by_role("button", name="Cross-entropy against MixNN").click()
    tab.wait_for_url(lambda url: "compare=digits-ce-" in url)  # not the two that were shown before
    names = re.search(r"compare=([^&]+)", tab.url)[1].replace("%2C", ",").split(",")
    assert len(names) == 2

    def done(name: str) -> bool:
        path = server.root / name / "status.json"
        return path.exists() and json.loads(path.read_text())["state"] == "done"

    wait_until(lambda: all(done(name) for name in names))
    ce, mixnn = (RunFolder(server.root / name) for name in names)
    assert (ce.config.method, mixnn.config.method) == ("ce", "mixnn")
    assert (ce.labels["given"] == mixnn.labels["given"]).all()
    tab.locator("[data-testid='stPlotlyChart']").first.wait_for()


@pytest.mark.slow
def test_the_numbers_of_a_picture_are_saved(visit, server, tmp_path):
    tab = visit(run="finished")
    with tab.expect_download() as caught:
        tab.get_by_role("button", name="CSV").first.click()
    caught.value.save_as(tmp_path / "curves.csv")
    rows = list(csv.DictReader((tmp_path / "curves.csv").open()))
    records = RunFolder(server.root / "finished").epochs
    said = [float(row["metrics.test_accuracy"]) for row in rows]
    assert said == pytest.approx([record["metrics"]["test_accuracy"] for record in records])
