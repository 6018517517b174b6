"""Frame times of the player: while it plays, while it is scrubbed, and until it is first shown.

    python tests/benchmarks/bench_player.py --out assets/results/player.json

"digits" is the recording of the opening page, 1,437 samples x 30 epochs x 2 runs; "photographs"
are 5,000 generated color images x 100 epochs whose points, labels and losses change in every epoch,
more than in a run. Milliseconds between two frames of Chromium, without a GPU: 16.7 is what a
screen of 60 Hz shows at most. work: milliseconds of the player's own code in a frame. shown:
milliseconds from the first line of its script until it is drawn. Needs a quiet machine.
"""

import base64
import io
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import finish, options
from PIL import Image

from engine.hardware import hardware_info
from engine.reports import layout, publish
from engine.reports.bundle import bundle, inline

sys.path.append(str(Path(__file__).resolve().parents[2]))
from tests.browser.conftest import CHROMIUM, FLAGS  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PAGE = """<!doctype html><meta charset="utf-8">
<style>body {{ margin: 0 }} #player {{ height: 100vh }} {style}</style><div id="player"></div>
<script type="application/octet-stream" id="recording">{recording}</script>
<script type="module">
const begun = performance.now();
{script}
const text = document.getElementById("recording").textContent;
const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
window.player = modules["main.js"].mount(document.getElementById("player"), bytes);
window.player.ready.then(() => (window.shown = performance.now() - begun));
</script>"""
# resolves to milliseconds between frames, and those of the player's own work
MEASURE = """(scrub) => new Promise((resolve) => {
    const player = window.player, frames = [], work = [];
    const draw = player.onFrame.bind(player);
    player.onFrame = (now) => {
        const start = performance.now();
        draw(now);
        work.push(performance.now() - start);
    };
    const [first, last] = player.scene.analysis.range;
    let before = 0, n = 0;
    const step = (now) => {
        if (before) frames.push(now - before);
        before = now;
        if (scrub) {
            const share = 0.5 - 0.5 * Math.cos((2 * Math.PI * n++) / 180);
            player.scrub(first + share * (last - first), false);
        }
        if (scrub ? n < 360 : player.playing) requestAnimationFrame(step);
        else resolve([frames, work]);
    };
    if (!scrub) { player.seek(first); player.toggle(true); }
    requestAnimationFrame(step);
})"""


def generated(n: int, epochs: int, n_classes: int = 10, k: int = 5) -> bytes:
    """A recording of n random color images in which everything changes in every epoch."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, n_classes, n).astype(np.uint8)
    given = np.where(rng.random(n) < 0.4, rng.integers(0, n_classes, n), true).astype(np.uint8)
    columns = 71
    sheet = rng.integers(0, 256, (32 * (n // columns + 1), 32 * columns, 3), dtype=np.uint8)
    image = io.BytesIO()
    Image.fromarray(sheet).save(image, "WEBP", quality=40)
    head = {
        "version": "0",
        "dataset": dict(name="generated", n=n, n_test=100, shape=[3, 32, 32], notes=[],
                        classes=[f"class {c}" for c in range(n_classes)], fingerprint=""),
        "n_samples": n,
        "truth_known": True,
        "images": dict(type="image/webp", width=32, height=32, columns=columns, smooth=True),
        "loss_range": layout.LOSS_RANGE,
        "runs": [dict(name="run", title="MixNN", method="mixnn", settings={"correction": "ema"},
                      first_epoch=0, epochs_planned=epochs, map="PCA")],
    }  # fmt: skip
    chunks = [
        layout.prologue(),
        layout.block(layout.HEAD, layout.json_bytes(head)),
        layout.block(
            layout.DATA,
            layout.pack(
                {}, dict(samples=np.arange(n, dtype=np.uint32), given=given[None], true=true)
            ),
        ),
        layout.block(layout.IMAGES, image.getvalue()),
    ]
    centers = rng.normal(size=(n_classes, 2)) * 4
    points = centers[true] + rng.normal(size=(n, 2))
    before: dict[str, np.ndarray] = {}
    for epoch in range(epochs):
        points += rng.normal(size=(n, 2)) * 0.1
        corrected = np.where(rng.random(n) < epoch / epochs, true, given)
        wrong = corrected != true
        loss = np.clip(rng.normal(0.1 + 0.4 * wrong, 0.1), 0, 1)
        codes, box = layout.map_codes(points)
        arrays = {
            "loss": layout.loss_codes(loss),
            "scaled_loss": layout.share_codes(loss),
            "clean": layout.share_codes(1 - loss),
            "prediction": np.where(rng.random(n) < 0.9, true, given).astype(np.uint8),
            "confidence": layout.share_codes(rng.random(n)),
            "corrected": corrected.astype(np.uint8),
            "soft_weight": layout.share_codes(rng.random(n)),
            "neighbors": rng.integers(0, n, (n, k)).astype(np.uint16),
            "weights": np.full((n, k + 1), 42, np.uint8),
            "map": codes,
        }
        counts = dict(
            clean=int((given == true).sum()), corrected=int(((given != true) & ~wrong).sum()),
            missed=int(((given != true) & wrong).sum()), harmed=0, changed=0,
        )  # fmt: skip
        record = {
            "run": 0, "epoch": epoch, "phase": "main", "n_neighbors": k, "settings": {},
            "metrics": {"test_accuracy": 0.5 + 0.4 * epoch / epochs, "memorized": 0.1},
            "mixture": dict(means=[0.1, 0.5], stds=[0.1, 0.1], weights=[0.6, 0.4], warning=None),
            "outcomes": counts, "box": box,
        }  # fmt: skip
        chunks.append(layout.block(layout.EPOCH, layout.pack(record, arrays, before)))
        before = {name: values for name, values in arrays.items() if name != "map"}
    end = dict(run=0, state="done", message="")
    return b"".join([*chunks, layout.block(layout.DONE, layout.json_bytes(end))])


def measured(browser, recording: bytes, folder: Path) -> dict[str, Any]:
    """The milliseconds of one recording in a window of 1280 x 720."""
    page = PAGE.format(
        style=(publish.PLAYER / "player.css").read_text(),
        recording=base64.b64encode(recording).decode(),
        script=inline(bundle(publish.PLAYER / "main.js")),
    )
    file = folder / "page.html"
    file.write_text(page)
    context = browser.new_context(viewport={"width": 1280, "height": 720}, offline=True)
    tab = context.new_page()
    tab.goto(file.as_uri())
    tab.wait_for_function("window.shown")
    result = {"bytes": len(recording), "shown": tab.evaluate("window.shown")}
    for name, scrub in (("play", False), ("scrub", True)):
        frames, work = tab.evaluate(MEASURE, scrub)
        result[name] = {"frames": spread(frames), "work": spread(work)}
    context.close()
    return result


def spread(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=20)
    return {"n": len(values), "median": statistics.median(values), "p95": cuts[-1]}


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = options(__doc__)
    parser.add_argument("--cases", nargs="+", choices=["digits", "photographs"])
    args = parser.parse_args()
    machine = hardware_info(torch.device("cpu")) | {"load_before": os.getloadavg()}
    results = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        for name in args.cases or ["digits", "photographs"]:
            recording = (
                (ROOT / "assets" / "digits.recording").read_bytes()
                if name == "digits"
                else generated(5000, 100)
            )
            results[name] = measured(browser, recording, Path(folder))
            print(name, json.dumps(results[name]))
        browser.close()
    finish("player", machine | {"load_after": os.getloadavg()}, {}, results, args.out)


if __name__ == "__main__":
    main()
