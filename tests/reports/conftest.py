"""Two runs on the same digits, by cross-entropy and MixNN."""

from pathlib import Path

import pytest

from engine.reports import publish
from engine.runs.runner import Runner
from tests.conftest import quick_digits


@pytest.fixture(scope="session")
def pair(tmp_path_factory) -> tuple[Path, Path]:
    """The folders of a run of cross-entropy and of one of MixNN, which changes many labels."""
    root = tmp_path_factory.mktemp("pair")
    folders = root / "cross-entropy", root / "mixnn"
    for folder, settings in zip(folders, (dict(method="ce"), dict(alpha=0.0)), strict=True):
        runner = Runner.new(quick_digits(**settings), folder)
        runner.run()
        assert runner.status.state == "done", runner.status.error
    return folders


@pytest.fixture(autouse=True, scope="module")
def small_player(tmp_path_factory):
    """A player of a few bytes; tests/browser uses the real one."""
    folder = tmp_path_factory.mktemp("player")
    (folder / "main.js").write_text("export function mount(element) { element.id = 'mounted'; }\n")
    (folder / "player.css").write_text("#player { color: red; }\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "PLAYER", folder)
        yield
