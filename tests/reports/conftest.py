"""Two runs on the same digits, by cross-entropy and MixNN."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

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


def probabilities(network: tuple[dict, dict[str, np.ndarray]], images: np.ndarray) -> np.ndarray:
    """What a recorded network says of images (B, C, H, W) in 0..255, by PyTorch: (B, n_classes)."""
    record, codes = network
    weights = {
        name: torch.from_numpy(code.view(np.float16).astype(np.float32))
        for name, code in codes.items()
    }
    scale, offset = (torch.tensor(record[key])[:, None, None] for key in ("scale", "offset"))
    maps = (torch.from_numpy(images) * scale + offset).float()
    for layer, pool in enumerate(record["pooled"]):
        weight, bias = weights[f"weight{layer}"], weights[f"bias{layer}"]
        maps = functional.conv2d(maps, weight, bias, padding=1)
        maps = functional.relu(functional.max_pool2d(maps, 2) if pool else maps)
    logits = functional.linear(maps.mean((2, 3)), weights["head"], weights["head_bias"])
    return logits.softmax(1).numpy()
