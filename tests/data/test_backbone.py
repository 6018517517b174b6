"""Features by a network of timm, whose weights the tests write themselves; no network is asked."""

import numpy as np
import pytest
import torch
from PIL import Image

from engine.cli.parser import main
from engine.config import configure
from engine.data import backbone, fine_tuning, load, load_data
from engine.errors import ConfigError, DataError
from engine.runs.folder import RunFolder
from engine.runs.predictor import load_predictor

timm = pytest.importorskip("timm")
NAME = "test_byobnet"  # of timm's own tests: half a million weights, 160 x 160 pixels


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "w.pth"
    torch.manual_seed(0)
    torch.save({"state_dict": timm.create_model(NAME, num_classes=7).state_dict()}, path)
    return path


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Twelve photos of two classes, and a folder of features of one's own."""
    monkeypatch.setenv("MIXNN_DATA", str(tmp_path / "data"))
    rng = np.random.default_rng(0)
    for i in range(12):
        folder = tmp_path / "photos" / ("light" if i % 2 else "dark")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 100, (50, 40, 3)) + 150 * (i % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "photos"


def test_features_are_those_of_timm_and_kept_for_the_next_time(photos, weights, monkeypatch):
    data = load(f"folder:{photos}", backbone=f"timm:{NAME}", backbone_weights=str(weights))
    assert data.is_rows
    assert data.picture_shape == (3, 160, 160)
    assert data.pictures([0]).shape == (1, 160, 160, 3)
    network = timm.create_model(NAME, num_classes=0)
    state = torch.load(weights, weights_only=True)["state_dict"]
    network.load_state_dict({key: state[key] for key in network.state_dict()})
    config = network.pretrained_cfg
    mean, std = (torch.tensor(config[key])[:, None, None] for key in ("mean", "std"))
    pixels = torch.from_numpy(data.pictures([3])).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        expected = network.eval()((pixels - mean) / std)
    assert torch.allclose(data.images[3].flatten(), expected[0], atol=1e-4)
    monkeypatch.setattr(backbone, "load_network", None)
    again = load(f"folder:{photos}", backbone=f"timm:{NAME}", backbone_weights=str(weights))
    assert again.fingerprint() == data.fingerprint()


def test_a_run_on_features_by_the_command_line(photos, weights, tmp_path):
    given = ["--backbone", f"timm:{NAME}", "--weights", str(weights)]
    command = ["train", "--dataset", f"folder:{photos}", *given, "--noise", "none", "--k", "2"]
    command += ["--epochs", "3", "--warmup", "1", "--correction-start", "2"]
    assert main([*command, "--out", f"{tmp_path}/run"]) == 0
    run = RunFolder(tmp_path / "run")
    assert run.info["network"] == "linear"
    assert run.info["data"]["fingerprint"] == load_data(run.config).fingerprint()
    assert run.labels["ids"][0].endswith(".png")

    out = tmp_path / "f.npy"
    assert main(["features", f"folder:{photos}", *given, "--out", str(out)]) == 0
    data = load(f"features:{out}")
    assert data.classes == ("dark", "light")
    assert torch.equal(data.images, load_data(run.config).images)
    assert data.ids is not None
    assert data.ids == tuple(run.labels["ids"].tolist())


def test_the_last_block_of_a_pretrained_network_is_trained(photos, weights, tmp_path):
    command = ["train", "--dataset", f"folder:{photos}", "--noise", "none", "--k", "2"]
    command += ["--network", f"timm:{NAME}", "--image-size", "32", "--epochs", "2"]
    command += ["--warmup", "1", "--correction-start", "1"]
    assert main([*command, "--out", f"{tmp_path}/no"]) == 1  # nothing is downloaded
    assert main([*command, "--weights", str(weights), "--out", f"{tmp_path}/run"]) == 0
    run = RunFolder(tmp_path / "run")
    assert run.info["network"] == f"timm:{NAME}"
    before = torch.load(weights, weights_only=True)["state_dict"]
    after = run.load_checkpoint(1)["model"]
    changed = {
        key.removeprefix("body.")
        for key, value in after.items()
        if key.startswith("body.") and not torch.equal(value, before[key.removeprefix("body.")])
    }
    assert changed, "the last block learns"
    last = timm.create_model(NAME, num_classes=0).stages[-1]
    names = {f"stages.{len(timm.create_model(NAME).stages) - 1}.{len(last) - 1}."}
    assert all(key.startswith(tuple(names)) for key in changed), changed
    # a network that is read again says the same
    probabilities, _ = load_predictor(run, 1).predict_proba(load_data(run.config).images)
    assert (probabilities.argmax(1) == run.array("prediction")[1]).all()


def test_networks_without_known_blocks_are_refused():
    with pytest.raises(DataError, match="Linear cannot be fine-tuned"):
        fine_tuning.last_block(torch.nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        (f"timm:{NAME}", None, "nothing is downloaded without being asked"),
        (f"timm:{NAME}", "missing.pth", "missing.pth is no file"),
        ("timm:no_such_net", "w.pth", "allowed is timm:NAME"),
    ],
)
def test_errors_say_what_to_do(photos, name, given, words):
    with pytest.raises(DataError, match=words):
        load(f"folder:{photos}", backbone=name, backbone_weights=given)


def test_weights_of_another_network_and_no_weights_at_all(photos, tmp_path, monkeypatch):
    torch.save(timm.create_model("test_resnet", num_classes=0).state_dict(), tmp_path / "o.pth")
    with pytest.raises(DataError, match=f"does not fit timm:{NAME}"):
        load("digits", backbone=f"timm:{NAME}", backbone_weights=f"{tmp_path}/o.pth")
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    with pytest.raises(DataError, match="cannot be read as weights"):
        load("digits", backbone=f"timm:{NAME}", backbone_weights=f"{tmp_path}/bad.pth")
    with pytest.raises(ConfigError, match="backbone"):
        configure(backbone="resnet18")


def test_without_a_connection_the_error_names_the_file_to_bring(monkeypatch):
    def create_model(name, pretrained=False, **_):
        assert pretrained
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(DataError, match="no route to host.*huggingface.co/timm.*--weights FILE"):
        backbone.load_network(f"timm:{NAME}", "pretrained")
