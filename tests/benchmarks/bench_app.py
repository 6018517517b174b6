"""How fast the app is: the first page, the live screen, pages at 50,000 samples, ten viewers.

    python tests/benchmarks/bench_app.py --out assets/results/app.json [--parts first live]

first: seconds from the server's first answer until a browser shows heading and Start, each time
with a server just started, and from its start until it answers. live: seconds from an epoch's
record on disk until the browser's page shows that it is done, in default digits runs. pages:
seconds from a click until the server has sent all of the page, on a run of 50,000 samples; "first"
is the server's first visit of each page, which draws the data set. viewers: ten visitors of a
default digits run, and the same runs without. Needs a quiet machine: the load averages before and
after each part are in the result.
"""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import parse_qs

import large_run
import torch
from common import finish, options
from served import Epochs, new_run, server, wait_for
from viewers import Viewer, crowd, look_on, spread

from engine.hardware import hardware_info
from tests.browser.conftest import CHROMIUM, FLAGS

PARTS = ("first", "live", "pages", "viewers")
MAPPER_STARTS = 15.0  # seconds that the process behind Map takes to compile
RUN, SECOND = "shapes-50000", "shapes-50000-alpha0.8"
NOTE_PROGRESS = """() => {
    window.progress = [];  // [seconds, epochs that the page shows as done]
    const look = () => {
        const text = document.querySelector('[data-testid="stProgress"]')?.textContent ?? "";
        const epoch = Number(text.match(/Epoch (\\d+) of/)?.[1] ?? -1);
        const last = window.progress.at(-1)?.[1] ?? -1;
        const done = epoch < 0 && last >= 0 && document.body.innerText.includes("✓ done");
        const now = done ? Infinity : epoch;
        if (now > last) window.progress.push([Date.now() / 1000, now]);
    };
    const what = {subtree: true, childList: true, characterData: true};
    new MutationObserver(look).observe(document.body, what);
}"""


def first(browser, place: Path, n: int) -> dict:
    """Cold starts: each time a new server and a new visitor, with nothing cached."""
    answers, drawn = [], []
    for number in range(n):
        root = place / f"empty-{number}"
        root.mkdir()
        begun = time.perf_counter()
        with server(root) as url:
            start = time.perf_counter()
            answers.append(start - begun)
            context = browser.new_context(viewport={"width": 1280, "height": 720})
            tab = context.new_page()
            tab.goto(url)
            tab.locator("[data-testid='stHeading']").first.wait_for(state="visible")
            tab.get_by_role("button", name="Start", exact=True).wait_for(state="visible")
            drawn.append(time.perf_counter() - start)
            context.close()
    return {"seconds": spread(drawn), "seconds_to_answer": spread(answers)}


def live(browser, place: Path, n: int) -> dict:
    """How long after its record an epoch appears on the screen, in n runs."""
    root, behind, every = place / "live", [], []
    root.mkdir()
    with server(root) as url:
        for _ in range(n):
            there = set(root.iterdir())
            tab = browser.new_page(viewport={"width": 1280, "height": 720})
            tab.goto(f"{url}/train")
            tab.evaluate(NOTE_PROGRESS)
            tab.get_by_role("button", name="Start", exact=True).click()
            run = Epochs(wait_for(lambda there=there: new_run(root, there)))
            while run.training():
                tab.wait_for_timeout(100)
            wait_for(lambda tab=tab: tab.evaluate("window.progress.at(-1)?.[1] === Infinity"))
            progress = tab.evaluate("window.progress")
            behind += [
                next(then for then, n_done in progress if n_done > epoch) - written
                for epoch, written in enumerate(run.times)
            ]
            every += run.seconds
            tab.close()
    return {"seconds": spread(behind), "epoch_seconds": spread(every), "runs": n}


async def pages(url: str, n: int) -> dict:
    """Every page: the first visit, then n switches to it, each with a step to another epoch."""
    viewer, rows = await Viewer.join(url), {}
    await viewer.open("train", **choices(1))
    cases = {page or "home": (page, {}) for page in viewer.pages}
    cases["map (PCA)"] = ("map", {"layout": "pca"})
    for name, (page, _) in cases.items():
        answer = await viewer.open(page)
        rows[name] = {"first": answer.seconds, "switch": [], "step": []}
        check(viewer, name)
    await asyncio.sleep(MAPPER_STARTS)
    for turn in range(n):
        for name, (page, more) in cases.items():
            if name == "train" or more:
                await viewer.open("lesson", **choices(18 + 2 * turn), **more)
            answer = await viewer.open(page)
            rows[name]["switch"].append(answer.seconds)
            rows[name]["kilobytes"] = round(answer.n_bytes / 1e3)
            if "epoch-on" in viewer.buttons:
                rows[name]["step"].append((await viewer.press("epoch-on")).seconds)
                await viewer.press("epoch-back")
            check(viewer, name)
    await viewer.leave()
    for row in rows.values():
        row |= {kind: spread(row[kind]) if row[kind] else None for kind in ("switch", "step")}
    return {"by_page": rows}


def choices(epoch: int) -> dict[str, Any]:
    return {"run": RUN, "epoch": epoch, "compare": f"{RUN},{SECOND}"}


def check(viewer: Viewer, page: str) -> None:
    """A page that shows an error is fast for the wrong reason."""
    if viewer.problems:
        raise RuntimeError(f"{page} showed an error: {viewer.problems[0]}")


async def viewers(url: str, root: Path, n_viewers: int, n: int) -> dict:
    """n digits runs with viewers and n without, in turns; the epochs after all viewers came."""
    seconds: dict[str, list[list[float]]] = {"alone": [], "watched": []}
    latencies: list[float] = []
    came = 0  # the first epoch that all viewers saw from its start
    for turn in range(n):
        for kind in ("alone", "watched") if turn % 2 else ("watched", "alone"):
            run = Epochs(root / await start(url))
            if kind == "watched":
                there = await crowd(url, n_viewers, run=run.folder.name)
                came = max(came, len(run.times))
                latencies += await look_on(there, run.training)
            while run.training():
                await asyncio.sleep(0.05)
            seconds[kind].append(run.seconds)
    late = {kind: [s for run in found for s in run[came:]] for kind, found in seconds.items()}
    if not latencies or not late["watched"]:
        raise RuntimeError("the runs ended before all viewers had come")
    return {
        "fragment_seconds": spread(latencies),
        "epoch_seconds": {kind: spread(values) for kind, values in late.items()},
        "first_epoch_counted": came + 1,
        "slowdown": median(late["watched"]) / median(late["alone"]),
        "slowdown_of_sums": sum(late["watched"]) / sum(late["alone"]),
    }


async def start(url: str) -> str:
    """Start a default run as a visitor who leaves at once; returns its name."""
    visitor = await Viewer.join(url)
    await visitor.open("train")
    await visitor.press("start")
    name = parse_qs(visitor.query)["run"][0]
    await visitor.leave()
    return name


def in_browser(measure: Callable, *arguments: Any) -> dict:
    """A measurement that needs chromium; why it was skipped where there is none."""
    if CHROMIUM is None:
        return {"skipped": "no chromium on this machine"}
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return {"skipped": "no playwright: pip install playwright"}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        try:
            return measure(browser, *arguments)
        finally:
            browser.close()


def pages_of_large_run(place: Path, n: int, samples: int) -> dict:
    root = place / "large"
    large_run.make(root / RUN, n=samples)
    large_run.copy(root / RUN, root / SECOND, alpha=0.8)
    with server(root) as url:
        return asyncio.run(pages(url, n))


def viewers_of_digits(place: Path, n_viewers: int, n: int) -> dict:
    root = place / "watched"
    root.mkdir()
    with server(root) as url:
        return asyncio.run(viewers(url, root, n_viewers, n))


def table(results: dict[str, dict]) -> list[dict[str, Any]]:
    """Each measurement with its goal; a page switch and an epoch step by their slowest page."""
    rows = []

    def row(name: str, goal: float, value: float, worst: float | None = None) -> None:
        rows.append(
            {"what": name, "goal": goal, "median": value, "worst": worst, "met": value <= goal}
        )

    if "seconds" in results.get("first", {}):
        found = results["first"]["seconds"]
        row("first page drawn (s)", 1.5, found["median"], found["largest"])
    if "seconds" in results.get("live", {}):
        found = results["live"]["seconds"]
        row("screen behind training (s)", 2.0, found["median"], found["largest"])
    for page, found in results.get("pages", {}).get("by_page", {}).items():
        for kind, words in (("switch", "switch to"), ("step", "epoch step on")):
            if found[kind]:
                row(f"{words} {page} (s)", 0.5, found[kind]["median"], found[kind]["largest"])
    if "viewers" in results:
        found = results["viewers"]
        latency = found["fragment_seconds"]
        row("fragment of ten viewers (s)", 1.0, latency["median"], latency["p95"])
        row("epoch with viewers / without", 1.2, found["slowdown"], found["slowdown_of_sums"])
    return rows


def say(rows: list[dict[str, Any]], results: dict[str, dict]) -> None:
    """The table; worst is the 95th percentile of fragments, and the ratio of sums of epochs."""
    print(f"{'':36s}{'goal':>7s}{'median':>9s}{'worst':>9s}")
    for row in rows:
        worst = "" if row["worst"] is None else f"{row['worst']:9.2f}"
        missed = "" if row["met"] else "   missed"
        print(f"{row['what']:36s}{row['goal']:7.1f}{row['median']:9.2f}{worst}{missed}")
    for part, found in results.items():
        if "skipped" in found:
            print(f"{part}: skipped, {found['skipped']}")


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--viewers", type=int, default=10)
    parser.add_argument("--samples", type=int, default=50_000)
    arguments = parser.parse_args()
    measured_on, n, results = hardware_info(torch.device("cpu")), arguments.repetitions, {}
    place = Path(tempfile.mkdtemp())
    measures = {
        "first": lambda: in_browser(first, place, n),
        "live": lambda: in_browser(live, place, n),
        "pages": lambda: pages_of_large_run(place, n, arguments.samples),
        "viewers": lambda: viewers_of_digits(place, arguments.viewers, n),
    }
    try:
        for part in arguments.parts:
            before = os.getloadavg()[0]
            results[part] = measures[part]()
            results[part]["load"] = {"before": before, "after": os.getloadavg()[0]}
            print(f"{part} done", flush=True)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    rows = table(results)
    settings = {
        "repetitions": n,
        "viewers": arguments.viewers,
        "samples": arguments.samples,
        "dataset": "digits",
        "classes": 10,
        "k": large_run.K,
        "epochs": large_run.EPOCHS,
    }
    finish("app", measured_on, settings, {"table": rows} | results, arguments.out)
    say(rows, results)


if __name__ == "__main__":
    main()
