"""Every example of CONTRIBUTING has ten lines at most, passes its own test and trains."""

import re
from pathlib import Path

import pytest

from engine.config import registry
from engine.data import load
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner
from tests.conftest import blobs, quick

TEXT = (Path(__file__).resolve().parents[1] / ".github" / "CONTRIBUTING.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
PAGE = next(text for text in EXAMPLES if text.startswith("from app."))  # tests/app/test_frame.py
SETTINGS = {kind: of.settings[0] for kind, of in registry.KINDS.items() if of.settings}


def kind_of(example: str) -> str | None:
    found = re.search(r'@register\("(\w+)"\)', example)
    return found and found[1]


PARTS = {kind: example for example in EXAMPLES if (kind := kind_of(example))}


def test_there_is_an_example_of_every_kind():
    assert PARTS.keys() == registry.KINDS.keys()


def test_an_example_has_ten_lines():
    for example in EXAMPLES:  # without the empty lines of the formatter
        assert sum(bool(line) for line in example.splitlines()) <= 10, example


@pytest.mark.parametrize("example", [text for text in EXAMPLES if text != PAGE])
def test_an_example_passes_its_own_test(example, tmp_path):
    (tmp_path / "example.py").write_text(example)
    module = registry.load_plugin(tmp_path / "example.py")
    digits = load("digits", limit=100)
    given = {"tmp_path": tmp_path, "images": digits.images.numpy(), "labels": digits.labels.numpy()}
    tests = [function for name, function in vars(module).items() if name.startswith("test_")]
    assert len(tests) == 1
    wanted = tests[0].__code__.co_varnames[: tests[0].__code__.co_argcount]
    tests[0](**{name: given[name] for name in wanted})


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_run_trains_with_an_example_and_keeps_its_text(kind, tmp_path):
    (tmp_path / "mine.py").write_text(PARTS[kind])
    registry.load_plugin(tmp_path / "mine.py")
    name = re.search(r"def (\w+)", PARTS[kind])[1]
    part = registry.find(kind, name)
    config = quick(epochs=3).changed(**{SETTINGS[kind]: name})
    runner = Runner.new(config, tmp_path / "run", data=blobs())
    runner.run()
    assert runner.status.state == "done", runner.status.error
    run = RunFolder(tmp_path / "run")
    (stored,) = run.info["parts"]
    assert stored["source"] == part.source
    assert f"def {name}(" in stored["source"]
    assert getattr(run.config, SETTINGS[kind]) == f"custom:{name}@{stored['hash']}"
    if kind != "noise":
        assert run.config.method == f"custom: {name}"
