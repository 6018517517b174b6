"""Back and Forward in a real browser, and events that follow each other at once."""

import pytest

from tests.app.conftest import wait_until
from tests.browser.conftest import settled
from tests.browser.test_page_journeys import press


def entries(tab) -> int:
    return tab.evaluate("window.history.length")


def back(tab) -> None:
    tab.evaluate("window.history.back()")


def open_from_menu(tab, link: str, heading: str) -> None:
    tab.get_by_role("link", name=link, exact=True).first.click()
    tab.get_by_role("heading", name=heading).wait_for()
    settled(tab)


@pytest.mark.slow
def test_many_epoch_steps_are_left_by_one_back(visit):
    tab = visit("labels", run="finished", epoch="11")
    open_from_menu(tab, "Losses", "Can the loss separate clean from wrong labels?")
    tab.get_by_text("Epoch 11 of 11").wait_for()
    before = entries(tab)
    epochs = 10, 9, 8, 9, 10, 9
    at = 11
    for epoch in epochs:
        press(tab, "ArrowLeft" if epoch < at else "ArrowRight", f"Epoch {epoch} of 11")
        at = epoch
    tab.wait_for_url(lambda url: f"epoch={at}" in url)
    assert entries(tab) == before
    back(tab)
    tab.get_by_role("heading", name="Did correction work?").wait_for()
    tab.get_by_text("Epoch 11 of 11").wait_for()


@pytest.mark.slow
def test_back_from_sample_works_the_first_time(visit):
    tab = visit("losses", run="finished", epoch="6")
    before = entries(tab)
    open_from_menu(tab, "Sample", "What did MixNN do with this image?")
    tab.wait_for_url(lambda url: "sample=" in url)
    assert entries(tab) == before + 1
    back(tab)
    tab.get_by_role("heading", name="Can the loss separate clean from wrong labels?").wait_for()
    tab.get_by_text("Epoch 6 of 11").wait_for()
    assert "epoch=6" in tab.url
    tab.evaluate("window.history.forward()")
    tab.get_by_role("heading", name="What did MixNN do with this image?").wait_for()
    tab.wait_for_url(lambda url: "sample=" in url)


@pytest.mark.slow
def test_back_returns_to_the_sample_before_at_once(visit):
    tab = visit("sample", run="finished", epoch="6", search="all", sample="3")
    number = tab.get_by_role("spinbutton", name="Sample", exact=True)
    wait_until(lambda: number.input_value() == "3")
    tab.get_by_role("button", name="Next Shortcut N").click()
    tab.wait_for_url(lambda url: "sample=4" in url)
    back(tab)  # within a second of the click
    wait_until(lambda: number.input_value() == "3")
    tab.wait_for_url(lambda url: "sample=3" in url)
    settled(tab)
    assert "sample=3" in tab.url


@pytest.mark.slow
def test_a_slider_moved_back_at_once_after_a_button_is_obeyed(visit):
    tab = visit("losses", run="finished", epoch="6")
    tab.get_by_text("Epoch 6 of 11").wait_for()
    settled(tab)
    tab.locator(".st-key-epoch-on button").first.click()
    tab.get_by_text("Epoch 7 of 11").wait_for()
    slider = tab.get_by_role("slider", name="Epoch")
    slider.focus()
    slider.press("ArrowLeft")
    tab.get_by_text("Epoch 6 of 11").wait_for()
    settled(tab)
    assert "epoch=6" in tab.url


@pytest.mark.slow
def test_quick_clicks_are_all_counted(visit):
    tab = visit("losses", run="finished", epoch="1")
    tab.get_by_text("Epoch 1 of 11").wait_for()
    settled(tab)
    for _ in range(6):
        tab.locator(".st-key-epoch-on button").first.click()
        tab.wait_for_timeout(60)
    settled(tab)

    def shown() -> int:
        """The epoch in the address, once the page has drawn it."""
        epoch = int(tab.url.split("epoch=")[1].split("&")[0])
        return epoch if tab.get_by_text(f"Epoch {epoch} of 11").is_visible() else 0

    # a click may be lost while a page is drawn, but none is taken back; a slow page draws for long
    wait_until(lambda: shown() > 1)
    reached = shown()
    tab.wait_for_timeout(1500)
    wait_until(lambda: shown() >= reached)
