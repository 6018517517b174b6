"""The opening page: seconds from the server's first answer until the player is drawn, and sizes.

    python tests/benchmarks/bench_opening.py --out assets/results/opening.json [--repeat 5]

Each time a new server and a browser without a cache, 1280 x 720, on a bare address. answers: from
the start of the process until it answers. picture: from that answer until the player's first
picture is drawn, by the browser's own clock from the start of the navigation. again: the same for a
second visit with a warm cache. train: until the Train page shows its heading and Start, on the same
server and by a new visitor, for comparison: Streamlit's own part. Needs a quiet machine: the load
averages before and after are in the result.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from common import finish, options
from served import server
from viewers import spread

from engine.hardware import hardware_info
from tests.browser.conftest import CHROMIUM, FLAGS

# milliseconds from the start of the navigation until the player is ready and a frame was painted
PICTURE = """() => new Promise((resolve) => {
    const find = (root) => {
        for (const node of root.querySelectorAll("*")) {
            if (node.matches(".mixnn-player.ready")) return node;
            const inside = node.shadowRoot && find(node.shadowRoot);
            if (inside) return inside;
        }
        return null;
    };
    const look = () => {
        if (!find(document)) requestAnimationFrame(look);
        else requestAnimationFrame(() => resolve(performance.now()));
    };
    look();
})"""
SIZES = """() => performance.getEntriesByType("resource")
    .filter(({name}) => name.includes("/recordings/"))
    .map(({name, encodedBodySize, decodedBodySize}) =>
        [new URL(name).pathname.split("-")[0], encodedBodySize, decodedBodySize])"""


def first_visit(browser, root: Path) -> dict[str, Any]:
    """One server: its start, a first visit, a second one, and Train."""
    begun = time.perf_counter()
    with server(root) as url:
        result: dict[str, Any] = {"answers": time.perf_counter() - begun}
        context = browser.new_context(viewport={"width": 1280, "height": 720})
        for name in ("picture", "again"):
            tab = context.new_page()
            tab.goto(url, wait_until="commit")
            result[name] = tab.evaluate(PICTURE) / 1000
            result["sizes"] = {file: sizes for file, *sizes in tab.evaluate(SIZES)}
            if name == "picture":
                result["loaded"] = result["sizes"]
            tab.close()
        context.close()
        tab = browser.new_page(viewport={"width": 1280, "height": 720})
        start = time.perf_counter()
        tab.goto(f"{url}/train", wait_until="commit")
        tab.locator("[data-testid='stHeading']").first.wait_for(state="visible")
        tab.get_by_role("button", name="Start", exact=True).wait_for(state="visible")
        result["train"] = time.perf_counter() - start
        tab.close()
    return result


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = options(__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    machine = hardware_info(torch.device("cpu")) | {"load_before": os.getloadavg()}
    visits = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        for number in range(args.repeat):
            root = Path(folder) / f"runs-{number}"
            root.mkdir()
            visits.append(first_visit(browser, root) | {"load": os.getloadavg()[0]})
            print(visits[-1])
        browser.close()
    results: dict[str, Any] = {
        name: spread([visit[name] for visit in visits])
        for name in ("answers", "picture", "again", "train")
    }
    # bytes as sent and as read, by file
    results |= {"sizes": visits[0]["loaded"], "loads": [visit["load"] for visit in visits]}
    finish(
        "opening", machine | {"load_after": os.getloadavg()}, {"n": args.repeat}, results, args.out
    )


if __name__ == "__main__":
    main()
