"""The opening page: seconds until the player's first picture, and until the whole page.

    python tests/benchmarks/bench_opening.py --out assets/results/opening.json [--repeat 12]
        [--against ../other-checkout]

A browser without a cache, 1280 x 720, opens the bare address of a server that is running. picture:
from the start of the navigation, by the browser's own clock, until the player is drawn and a frame
was painted. page: until the page has its Start button and the player is in its place. again: the
same in another tab, with a warm cache. The first visit to a new server, which still imports
libraries, is `first` and not among them. bytes: of the player's files, as sent and as read.

--against: other checkouts, which are visited in turns with this one, so that what else the machine
does meets all of them. The load averages, of one minute, are in the result.
"""

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from common import finish, options
from served import server_process
from viewers import spread

from engine.hardware import hardware_info
from tests.browser.conftest import CHROMIUM, FLAGS, ROOT

# each resolves to milliseconds since the start of the navigation
FIND = """(condition) => new Promise((resolve) => {
    const find = (root) => {
        for (const node of root.querySelectorAll("*")) {
            if (node.matches(".mixnn-player.ready")) return node;
            const inside = node.shadowRoot && find(node.shadowRoot);
            if (inside) return inside;
        }
        return null;
    };
    const look = () => {
        if (!(%s)) requestAnimationFrame(look);
        else requestAnimationFrame(() => resolve(performance.now()));
    };
    look();
})"""
PICTURE = FIND % "find(document)"
PAGE = (
    FIND
    % """document.querySelector(".st-key-start button")?.checkVisibility() &&
    find(document.querySelector("#root"))"""
)
SIZES = """() => performance.getEntriesByType("resource")
    .filter(({name}) => name.includes("/recordings/"))
    .map(({name, encodedBodySize, decodedBodySize}) =>
        [new URL(name).pathname.split("-")[0], encodedBodySize, decodedBodySize])"""


def opening(browser, url: str) -> dict[str, Any]:
    """A new browser's visit, and another one with what it has kept."""
    result: dict[str, Any] = {"load": os.getloadavg()[0]}
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    for name in ("", "_again"):
        tab = context.new_page()
        tab.goto(url, wait_until="commit")
        result[f"picture{name}"] = tab.evaluate(PICTURE) / 1000
        result[f"page{name}"] = tab.evaluate(PAGE) / 1000
        result.setdefault("bytes", {file: sizes for file, *sizes in tab.evaluate(SIZES)})
        tab.close()
    context.close()
    return result


def summary(visits: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the visits to one server, the first of which is apart."""
    first, *others = visits
    names = ("picture", "page", "picture_again", "page_again", "load")
    result: dict[str, Any] = {name: spread([visit[name] for visit in others]) for name in names}
    return result | {"first": first}


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = options(__doc__)
    parser.add_argument("--repeat", type=int, default=12)
    parser.add_argument("--against", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    machine = hardware_info(torch.device("cpu")) | {"load_before": os.getloadavg()}
    projects = {"this": ROOT} | {path.name: path.resolve() for path in args.against}
    visits: dict[str, list[dict[str, Any]]] = {name: [] for name in projects}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        stack.callback(browser.close)
        urls = {}
        for name, project in projects.items():
            (root := folder / name).mkdir()
            running = stack.enter_context(server_process(root, project=project))
            urls[name] = running.url
        for _ in range(1 + args.repeat):
            for name, url in urls.items():
                visits[name].append(opening(browser, url))
                print(name, visits[name][-1], flush=True)
    results = {name: summary(each) for name, each in visits.items()}
    measured_on = machine | {"load_after": os.getloadavg()}
    finish("opening", measured_on, {"n": args.repeat}, results, args.out)


if __name__ == "__main__":
    main()
