"""The player in a published page, opened from disk without a network, and with hostile names."""

import base64
import re
from pathlib import Path

import numpy as np
import pytest

from engine.reports import layout, publish
from engine.reports.bundle import bundle, inline
from engine.reports.reader import Recording, read_recording
from engine.reports.recording import RecordingWriter
from engine.runs.folder import RunFolder
from engine.runs.forks import data_of
from engine.runs.runner import Runner
from tests.conftest import quick_digits

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "assets" / "digits.recording"
EVIL = '<img src=x onerror="window.acted = 1"><b>bold</b>'


@pytest.fixture(scope="module")
def published(tmp_path_factory, chromium) -> tuple[Path, Recording]:
    """The page of two short runs, and their recording."""
    root = tmp_path_factory.mktemp("published")
    runs = []
    for name, settings in (("plain", dict(method="ce")), ("mixnn", dict(alpha=0.0))):
        runner = Runner.new(quick_digits(**settings), root / name)
        runner.run()
        assert runner.status.state == "done", runner.status.error
        runs.append(RunFolder(root / name))
    data = data_of(runs[0])
    publish.publish(runs, root / "run.html", data)
    return root / "run.html", read_recording(RecordingWriter(*runs, data=data).to_bytes())


@pytest.fixture
def open_page(chromium):
    """open_page(file, fragment) opens a file offline; errors and requests fail the test."""
    contexts, failures = [], []

    def opened(file: Path, fragment: str = "", width=1280, height=720, **settings):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, offline=True, **settings
        )
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(60_000)
        tab.on("pageerror", lambda error: failures.append(str(error)))
        tab.on("console", lambda m: m.type == "error" and failures.append(m.text))
        tab.on(
            "request",
            lambda r: r.url.startswith(("file:", "data:", "blob:")) or failures.append(r.url),
        )
        tab.goto(file.as_uri() + (f"#{fragment}" if fragment else ""))
        tab.wait_for_selector(".mixnn-player.ready")
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert not failures, failures


def drawn(tab) -> None:
    """Wait until what was done is drawn, in the next frame."""
    tab.evaluate("new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")


def epoch(tab) -> int:
    drawn(tab)
    return int(tab.locator(".mixnn-player").get_attribute("data-epoch"))


def literal(text: str) -> str:
    return text.replace("\u00a0", " ")


def reaches(tab, number: int) -> None:
    """Wait until an epoch is shown; the page's policy forbids to wait for a function."""
    tab.wait_for_selector(f'.mixnn-player[data-epoch="{number}"]')


def selected(tab) -> int:
    """How many images the pill says are selected; 0 without one."""
    drawn(tab)
    pill = tab.locator(".chosen span")
    if not pill.is_visible():
        return 0
    return int(re.match(r"[\d,]+", pill.inner_text())[0].replace(",", ""))


def fragment(tab) -> dict[str, str]:
    return dict(part.split("=") for part in tab.evaluate("location.hash.slice(1)").split("&"))


def drag(tab, selector: str, path: list[tuple[float, float]]) -> None:
    """Drag over a canvas; positions are shares of its size."""
    box = tab.locator(selector).last.bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in path]
    tab.mouse.move(*points[0])
    tab.mouse.down()
    for point in points[1:]:
        tab.mouse.move(*point, steps=4)
    tab.mouse.up()


def test_a_published_page_plays_steps_and_scrubs_without_a_network(published, open_page):
    file, recording = published
    tab = open_page(file)
    labels = np.stack([e.codes["corrected"] for e in recording.epochs[1]])
    changed = (labels != recording.given[1]).any(1)
    assert changed.any()
    first, last = int(changed.argmax()), len(labels) - 1
    assert epoch(tab) == first - 1  # opens before labels change
    assert "peak" in tab.locator(".caption").inner_text()
    # the whole player is on one screen, and nothing is cut at its side
    player = tab.locator(".mixnn-player").bounding_box()
    assert player["y"] + player["height"] <= 721
    assert tab.evaluate("document.documentElement.scrollWidth") <= 1280

    tab.keyboard.press("ArrowRight")
    reaches(tab, first)
    outcomes = recording.epochs[1][first].record["outcomes"]
    assert f"{outcomes['corrected']} corrected, {outcomes['harmed']} harmed" in (
        tab.locator(".caption").inner_text()
    )
    tab.keyboard.press("Space")
    reaches(tab, last)
    closing = literal(tab.locator(".caption").inner_text())
    assert closing.startswith(f"After {last + 1} epochs: Plain training has memorized")
    accuracy = 100 * recording.epochs[1][last].record["metrics"]["test_accuracy"]
    assert re.search(rf"MixNN.*gets {accuracy:.1f}".removesuffix(".0"), closing)
    assert closing in literal(tab.locator(".live").inner_text())  # is read out
    assert fragment(tab)["epoch"] == str(last)

    slider = tab.locator("input[type=range]").bounding_box()
    middle = slider["y"] + slider["height"] / 2
    tab.mouse.move(slider["x"] + slider["width"] - 8, middle)
    tab.mouse.down()
    tab.mouse.move(slider["x"] + slider["width"] / 2, middle, steps=8)
    tab.mouse.up()
    assert abs(epoch(tab) - last / 2) <= 1
    tab.reload()
    tab.wait_for_selector(".mixnn-player.ready")
    assert abs(epoch(tab) - last / 2) <= 1


def test_a_brush_selects_the_same_images_everywhere(published, open_page):
    file, recording = published
    tab = open_page(file, "epoch=2&run=1")
    codes = recording.epochs[1][2].codes

    drag(tab, ".histogram canvas", [(0.5, 0.6), (0.7, 0.5), (0.9, 0.6)])
    _, _, _, low, high = fragment(tab)["select"].split("_")
    losses = codes["scaled_loss"] / 255
    inside = (losses >= float(low)) & (losses <= float(high))
    assert abs(selected(tab) - inside.sum()) <= 2  # the address rounds the range
    assert selected(tab) > 0
    whole = tab.evaluate("document.querySelector('.wall .scroller').scrollHeight")
    assert whole <= tab.evaluate("document.querySelector('.wall .scroller').clientHeight") + 1

    drag(tab, ".map canvas", [(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99)])
    assert selected(tab) == len(recording.given[1])  # a lasso around all
    tab.keyboard.press("Escape")
    assert selected(tab) == 0
    assert "select" not in fragment(tab)

    matrix = tab.locator(".confusion canvas")
    matrix.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "Enter"):  # row 1, column 1
        tab.keyboard.press(key)
    count = ((recording.true == 1) & (codes["prediction"] == 1)).sum()
    assert selected(tab) == count

    tab.locator(".chip", has_text="right").click()
    right = (recording.given[1] == recording.true) & (codes["corrected"] == recording.true)
    assert selected(tab) == right.sum()
    tab.reload()
    tab.wait_for_selector(".mixnn-player.ready")
    assert selected(tab) == right.sum()
    assert epoch(tab) == 2


def test_an_image_tells_its_story_and_leads_to_its_neighbors(published, open_page):
    file, recording = published
    labels = np.stack([e.codes["corrected"] for e in recording.epochs[1]])
    given, true = recording.given[1], recording.true
    place = int(np.flatnonzero((given != true) & (labels[-1] == true))[0])  # a corrected one
    move = int((labels[:, place] != given[place]).argmax())
    tab = open_page(file, f"epoch={move}&run=1&sample={recording.samples[place]}")
    story = tab.locator(".facts").inner_text()
    assert f"at epoch {move}." in story
    assert f"given label is {given[place]}" in story
    codes = recording.epochs[1][move].codes
    parts = tab.locator("button.part")
    assert parts.count() == 1 + codes["neighbors"].shape[1]
    weights = codes["weights"][place] / codes["weights"][place].sum() * 100.0
    shown = [float(text.split()[0]) for text in parts.locator("b").all_inner_texts()]
    assert np.abs(shown - weights).max() < 1
    # by hand: the image alone is answered as both networks were recorded to answer at the end
    tab.get_by_role("button", name="Mix by hand").click()
    for number, slider in enumerate(tab.locator(".weight input").all()):
        slider.fill("0" if number else "100")
    answers = literal(tab.locator(".answers").inner_text())
    for run, name in enumerate(("Plain training", "MixNN")):
        last = recording.epochs[run][-1]
        said, sure = re.search(rf"{name}.* says (\d), ([\d.]+) %", answers).groups()
        assert int(said) == last.codes["prediction"][place]
        assert abs(float(sure) - 100 * last.values("confidence")[place]) < 0.5
    tab.get_by_role("button", name="Back to the story").click()
    heaviest = int(weights[1:].argmax())
    parts.nth(1 + heaviest).click()
    names = recording.head.get("ids", recording.samples)
    neighbor = codes["neighbors"][place, heaviest]
    assert tab.locator(".detail h2").inner_text().startswith(f"Image {names[neighbor]} ")
    assert fragment(tab)["sample"] == str(recording.samples[neighbor])
    tab.keyboard.press("Escape")
    tab.locator(".detail").wait_for(state="hidden")

    # the wall by keyboard
    tab.locator(".scroller").focus()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    assert "given label" in tab.locator(".live").inner_text()
    tab.keyboard.press("Enter")
    assert tab.locator(".detail").is_visible()
    assert epoch(tab) == move  # arrows moved among the images


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (390, 844)])
def test_other_screens(published, open_page, width, height):
    tab = open_page(published[0], width=width, height=height, color_scheme="dark",
                    reduced_motion="reduce")  # fmt: skip
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    size = tab.evaluate("parseFloat(getComputedStyle(document.querySelector('.caption')).fontSize)")
    assert size >= (22 if width == 1920 else 14)
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")  # on paper: as wide as a page, light
    player = tab.locator(".mixnn-player.printed[data-theme=dark]")
    assert player.bounding_box()["width"] <= 690
    assert "invert" in player.evaluate("(node) => getComputedStyle(node).filter")
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    tab.wait_for_selector(".mixnn-player[data-theme=auto]:not(.printed)")
    tab.locator(".card.run0").click()
    assert tab.locator(".mixnn-player").get_attribute("data-run") == "0"
    tab.locator(".wall canvas").last.click(position={"x": 8, "y": 8})
    assert tab.locator(".detail").is_visible()
    tab.keyboard.press("Escape")
    matrix, losses = tab.locator(".confusion canvas"), tab.locator(".histogram canvas")
    if width < 760:  # one of three panels at a time
        assert not matrix.is_visible()
        tab.get_by_role("button", name="Classes").click()
        assert not losses.is_visible()
    else:
        assert losses.is_visible()
    assert matrix.is_visible()
    tab.locator(".play").click()
    reaches(tab, len(published[1].epochs[1]) - 1)
    assert tab.locator(".caption").inner_text().startswith("After ")


def write_page(file: Path, script: str, **recordings: bytes) -> Path:
    """A page without a policy: the player's modules, and a script in which `mount`, `host` and the
    recordings are known.
    """
    lines = [
        f'const {name} = Uint8Array.from(atob("{base64.b64encode(content).decode()}"), '
        "(c) => c.charCodeAt(0));"
        for name, content in recordings.items()
    ]
    modules = inline(bundle(publish.PLAYER / "main.js"))
    style = (publish.PLAYER / "player.css").read_text()
    file.write_text(
        f"""<!doctype html><meta charset="utf-8"><style>#player {{ height: 700px }} {style}</style>
        <div id="player"></div><script type="module">{modules}
        const {{ mount }} = modules["main.js"], host = document.getElementById("player");
        {"".join(lines)} {script}</script>"""
    )
    return file


def test_names_are_shown_literally(tmp_path, open_page):
    """Names of classes, samples and runs that would act as HTML."""
    chunks = [layout.prologue()]
    for kind, payload in layout.blocks(SHIPPED.read_bytes()):
        if kind == layout.HEAD:
            head = layout.read_json_bytes(payload)
            head["dataset"]["classes"] = [f"{EVIL} {i}" for i in range(10)]
            head["dataset"]["name"] = EVIL
            head["ids"] = [EVIL] * head["n_samples"]
            for run in head["runs"]:
                run["title"] = EVIL
            payload = layout.json_bytes(head)
        chunks.append(layout.block(kind, payload))
    file = write_page(tmp_path / "hostile.html", "mount(host, bytes);", bytes=b"".join(chunks))
    tab = open_page(file, "epoch=8&run=1&sample=780&select=class_3")
    tab.mouse.move(60, 260)
    tab.keyboard.press("Space")
    tab.wait_for_timeout(400)
    assert EVIL in tab.locator(".facts").inner_text()
    assert EVIL in tab.locator(".card.data").inner_text()
    assert tab.evaluate("window.acted") is None
    assert tab.locator("#player img, #player .facts b").count() == 0


def test_a_growing_recording_is_followed(tmp_path, open_page):
    blocks = list(layout.blocks(SHIPPED.read_bytes()))
    epochs = [part for part in blocks if part[0] == layout.EPOCH]
    begin = [part for part in blocks if part[0] not in (layout.EPOCH, layout.DONE)]
    ends = [part for part in blocks if part[0] == layout.DONE]
    n = len(epochs) // 2  # both runs train at once, up to epoch 9 at first
    both = [part for pair in zip(epochs[:n], epochs[n:], strict=True) for part in pair]
    first = [layout.prologue(), *(layout.block(*part) for part in [*begin, *both[:20]])]
    rest = [layout.block(*part) for part in [*both[20:], *ends]]
    file = write_page(
        tmp_path / "live.html",
        "window.player = mount(host, first, { live: true }); window.rest = rest;",
        first=b"".join(first),
        rest=b"".join(rest),
    )
    tab = open_page(file)
    assert epoch(tab) == 9
    assert not tab.locator(".caption").inner_text().startswith("After ")
    tab.evaluate("window.player.speed = 10; window.player.append(window.rest)")
    reaches(tab, n - 1)
    assert tab.locator(".caption").inner_text().startswith("After 30 epochs")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"no recording at all", "no recording"), (b"MIXNNREC\x09\0\0\0\0\0\0\0", "version 9")],
)
def test_bytes_that_are_no_recording_are_answered_in_words(tmp_path, chromium, content, words):
    file = write_page(tmp_path / "damaged.html", "mount(host, bytes);", bytes=content)
    tab = chromium.new_page()
    tab.goto(file.as_uri())
    tab.wait_for_function(f"document.body.innerText.includes('{words}')")
    tab.close()
