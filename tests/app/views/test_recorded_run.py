"""Runs of a training loop of one's own, and of one's own parts, on every page."""

import html
import json
import shutil

import numpy as np
import pytest

from app.server import run_cache
from app.server.visible_runs import runs
from app.views.compare.comparison import differences
from engine import Recorder
from engine.runs.runner import Runner
from tests.app.conftest import app, texts
from tests.app.test_frame import PAGES
from tests.conftest import quick_digits, slow
from tests.runs.test_recorder import data_loader, digits, plain_torch


def half(logits, targets):
    return -(targets * logits.log_softmax(1)).sum(1) / 2


def plain(markdown: str) -> str:
    """A text without what escapes its signs."""
    return html.unescape(markdown).replace("\\", "").replace("\u2060", "")


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    """Three recorded loops, to be copied.

    full has probabilities and features, losses_only losses alone, and bare neither images nor true
    labels.
    """
    folder = tmp_path_factory.mktemp("recordings")
    plain_torch(folder / "full")
    data_loader(folder / "losses_only")
    _, given = digits()
    with Recorder(folder / "bare", None, given, epochs=2) as recorder:
        for epoch in range(2):
            recorder.log(epoch, losses=np.linspace(0, epoch + 1, len(given)))
    return folder


@pytest.fixture
def copied(recordings, root):
    """The same in the root of the runs, which moves their images, too."""
    shutil.copytree(recordings, root)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    "run", ["losses_only", pytest.param("full", marks=slow), pytest.param("bare", marks=slow)]
)
def test_every_page_shows_what_it_can(page, run, copied):
    at = app(page, run=run, sample="3", compare=run)
    assert at.header
    assert not at.error
    assert "Unexpected error" not in texts(at)


MISSING = {
    "map": ["There is no map. losses_only was recorded without features: log them with"],
    "sample": [
        "was recorded without predictions: log them with recorder.log(epoch, prob",
        "logged no neighbors: if it mixes images, log them with",
    ],
    "losses": ["memorized is not known: losses_only was recorded without predictions"],
    "labels": [
        "Neighbors cannot vote. losses_only was recorded without features",
        "If the loop corrects labels, log them with",
    ],
    "train": [
        "Or log them: `recorder.log(epoch, test_accuracy=...)`",
        "Its code was not recorded",
    ],
}


@pytest.mark.parametrize(("page", "sentences"), MISSING.items())
def test_a_page_says_what_is_missing_and_how_to_log_it(page, sentences, copied):
    at = app(page, run="losses_only", sample="3")
    for sentence in sentences:
        assert sentence in plain(texts(at))


def test_images_and_map_of_a_loop_are_found(copied):
    data, _ = digits()
    at = app("sample", run="full", sample="3")
    assert "image not available" not in texts(at)
    expected = data.images[3].permute(1, 2, 0).numpy()
    assert np.array_equal(run_cache.pixels("full", [3])[0], expected)
    at = app("map", run="full")
    assert "points nearest to a point on the map" in texts(at)


def test_the_code_of_a_run_is_shown_and_not_executed(root):
    runner = Runner.new(quick_digits(loss=half, epochs=2), root / "own")
    runner.run()
    assert runner.status.state == "done", runner.status.error
    info = json.loads((root / "own" / "config.json").read_text())
    info["parts"][0]["source"] += "\nraise SystemExit('executed')"
    (root / "own" / "config.json").write_text(json.dumps(info))
    at = app("train", run="own")
    assert not at.exception
    assert [e.label for e in at.expander if e.label.startswith("custom")] == ["custom: half"]
    assert "raise SystemExit('executed')" in at.code[0].value
    assert runs().info("own").state == "done"
    at = app("labels", run="own")
    assert not at.error


@pytest.mark.parametrize("name", ["network", "noise"])
def test_an_address_names_no_code(root, name):
    at = app("train", **{name: "custom:evil@0123456789ab"})
    assert not at.exception
    assert f"{name} = 'custom:evil@0123456789ab': allowed is" in plain(at.error[0].value)


def test_settings_that_a_loop_did_not_name_are_not_compared(copied):
    data, given = digits()
    recorder = Recorder(runs().root / "other", data, given, learning_rate=0.5, epochs=1)
    recorder.log(0, losses=np.ones(len(given)))
    found = " ".join(differences(["full", "other"]))
    assert "**learning rate**: A not recorded, B 0.5" in found
    assert "**method**: A custom: plain-torch, B custom: loop" in plain(found)
    assert "batch size" not in found
