"""Screenshots of every page, both themes, real content: python -m tests.browser.screenshots"""

import argparse
import io
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from engine.config import configure
from engine.data import load
from engine.data.images import open_image
from engine.runs.runner import Runner
from tests.browser.conftest import CHROMIUM, FLAGS, ROOT, Server, go, serve

PAGES: dict[str, dict[str, str]] = {  # page -> query parameters that make it worth looking at
    "home": {},
    "train": dict(run="digits"),
    "noise": dict(run="digits"),
    "losses": dict(run="digits", epoch="2"),
    "map": dict(run="digits"),
    "sample": dict(run="digits", epoch="6"),
    "labels": dict(run="digits"),
    "compare": dict(run="digits", compare="digits,cross-entropy"),
    "your_data": dict(run="own-data"),
    "lesson": dict(lesson="2"),
    "runs": {},
}


def prepare(root: Path) -> None:
    """MixNN and cross-entropy on the same noisy digits, and digits as a user's own data."""
    data = load("digits")
    labels = data.labels.numpy().copy()
    wrong = np.random.default_rng(0).choice(len(labels), 120, replace=False)
    labels[wrong] = (labels[wrong] + 1 + wrong % 9) % 10
    own = root / "own.npz"
    np.savez(own, train_images=data.images[:, 0].numpy(), train_labels=labels)
    runs = {
        "own-data": configure(
            dataset=f"npz:{own}",
            noise="none",
            epochs=20,
            warmup=4,
            correction_start=8,
            augment="none",
        ),
        "cross-entropy": configure(method="ce"),
        "digits": configure(),
    }
    for name, config in runs.items():
        runner = Runner.new(config, root / name)
        runner.run()
        assert runner.status.state == "done", runner.status.error


def take(tab: Page, server: Server, page: str, params: dict[str, str], out: Path) -> None:
    """One page, from its top as far as a tall window shows it."""
    address = "" if page == "home" else page
    go(tab, server, address, **params)
    tab.wait_for_timeout(6000)
    with open_image(io.BytesIO(tab.screenshot())) as image:
        image.convert("RGB").quantize(192).save(out, optimize=True)
        print(out.name, image.size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "screens")
    parser.add_argument("--runs", type=Path, help="a root that was prepared before")
    parser.add_argument("--pages", nargs="*", default=list(PAGES))
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=1000)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    root = options.runs or Path(tempfile.mkdtemp()) / "runs"
    if not root.exists():
        root.mkdir(parents=True)
        prepare(root)
    server = serve(root)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, headless=True, args=FLAGS
            )
            for theme in ("light", "dark"):
                size = {"width": options.width, "height": options.height}
                tab = browser.new_context(viewport=size, color_scheme=theme).new_page()
                tab.set_default_timeout(60_000)
                for page in options.pages:
                    name = f"{page}-{theme}.png"
                    take(tab, server, page, PAGES[page], options.out / name)
            browser.close()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
