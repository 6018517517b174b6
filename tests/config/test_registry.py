"""Parts of one's own: by name, text and hash; known here, elsewhere, or not at all."""

import json
from importlib.metadata import EntryPoint

import pytest
import torch

from engine import register
from engine.cli.parser import main
from engine.config import RunConfig, configure, registry
from engine.errors import ConfigError, EngineError, StoreError
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner
from engine.training.train import train
from tests.conftest import blobs, quick
from tests.records import read_records

SCALE = 2.0
SHORT = ["--limit=60", "--epochs=3", "--warmup=1", "--correction-start=1"]


def doubled(logits, targets):
    return SCALE * _plain(logits, targets)


def _plain(logits, targets):
    return -(targets * logits.log_softmax(1)).sum(1)


def plugin(folder, factor: float = 1.0, name: str = "mine"):
    """A file that registers a loss, its factor in a constant beside it."""
    path = folder / "plugin.py"
    path.write_text(
        "from engine import register\n"
        f"FACTOR = {factor}\n"
        f"@register('losses')\n"
        f"def {name}(logits, targets):\n"
        "    return -FACTOR * (targets * logits.log_softmax(1)).sum(1)\n"
    )
    return path


def test_a_part_is_its_text_with_what_it_uses_from_its_own_file():
    config = configure(loss=doubled)
    (found,) = registry.used(config.model_dump())
    setting, part = found
    assert (setting, part.name) == ("loss", "doubled")
    assert config.loss == f"custom:doubled@{part.digest}"
    for text in ("def doubled", "def _plain", "SCALE = 2.0"):
        assert text in part.source
    assert configure(loss="doubled") == configure(loss="custom:doubled") == config
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
    assert config.method == "custom: doubled"


def test_other_code_is_another_part(tmp_path):
    def setting(factor):
        registry.load_plugin(plugin(tmp_path, factor))
        return configure(loss="mine").loss

    one, two = setting(1.0), setting(2.0)
    assert one != two
    assert setting(1.0) == one
    values = [
        registry.function("losses", s)(torch.zeros(1, 2), torch.eye(2)[:1]) for s in (one, two)
    ]
    assert values[1] == 2 * values[0]  # a run that began with the earlier code goes on with it


def test_values_that_a_function_closes_over_count():
    def made(q):
        def powered(logits, targets):
            return (targets * (1 - logits.softmax(1) ** q)).sum(1)

        return powered

    assert configure(loss=made(0.5)).loss != configure(loss=made(0.7)).loss
    assert configure(loss=made(0.5)).loss == configure(loss=made(0.5)).loss


@pytest.mark.parametrize(
    ("kind", "part", "name", "message"),
    [
        ("loss", doubled, None, "kind = 'loss': allowed are losses, weights"),
        ("losses", doubled, "ce", "name = 'ce': allowed is a name that is not built in"),
        ("losses", doubled, "a b", "name = 'a b': allowed are up to 60 letters"),
        ("losses", lambda logits: logits, None, "takes 1 arguments: it gets logits, targets"),
        ("losses", lambda logits, targets, gamma: 0, None, "needs 'gamma': it gets logits"),
        ("losses", 3, "three", "three is no function, class or module but 3"),
        ("losses", eval("lambda a, b: a"), None, "source of lambda cannot be read"),
        ("losses", [lambda a, b: a, lambda a, b: b][1], None, "source of lambda cannot be read"),
    ],
)
def test_a_part_that_does_not_fit_is_refused(kind, part, name, message):
    with pytest.raises(ConfigError, match=message):
        register(kind, part, name=name)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": lambda logits, targets: logits.sum()}, r"'custom: lambda' returns shape \(\)"),
        (
            {"weighting": lambda clean, neighbors: clean[neighbors]},
            r"returns shape \(96, 1\): allowed are weights \(N, K\+1\) = \(96, 2\)",
        ),
        (
            {"weighting": lambda clean, neighbors: torch.ones(len(clean), 2)},
            "in rows that sum to 2 to 2",
        ),
        ({"clean_from": lambda losses: losses + 1}, "from 1 to 2: allowed are prob"),
        ({"augment": lambda images, generator: images[..., :4]}, r"allowed is.*\(192, 1, 8, 8\)"),
        ({"noise": lambda labels, rate, rng: labels + 9}, r"labels 9..11: allowed is 0..2"),
        ({"noise": lambda labels, rate, rng: labels[:5]}, r"returns shape \(5,\): allowed is"),
        ({"network": lambda channels, n_classes: torch.nn.ReLU()}, "has no nn.Linear"),
        ({"network": lambda channels, n_classes: 3}, "makes a int: allowed is a torch.nn.Module"),
    ],
)
def test_what_a_part_returns_is_checked(settings, message):
    config = quick(batch_size=96, warmup=0, epochs=1, correction_start=0).changed(**settings)
    with pytest.raises(EngineError, match=message):
        list(train(config, blobs()))


def test_arguments_of_train_are_the_settings():
    parts = dict(
        loss=doubled,
        weights=lambda clean, neighbors, distances, features: torch.eye(1, 2).repeat(len(clean), 1),
        clean=lambda losses: 1 - losses,
        network=torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)),
        augment=lambda images, generator: images,
    )
    snapshots = list(train(quick(epochs=3), blobs(), **parts))
    assert (snapshots[-1].weights == [1, 0]).all()
    torch.testing.assert_close(
        torch.from_numpy(snapshots[-1].clean), 1 - torch.from_numpy(snapshots[-1].scaled_loss)
    )
    assert snapshots[-1].panel_features.shape == (96, 64)  # the input of the last linear layer
    named = quick(epochs=3).changed(
        loss=doubled, weighting=parts["weights"], clean_from=parts["clean"],
        network=parts["network"], augment=parts["augment"],
    )  # fmt: skip
    again = list(train(named, blobs()))
    assert [s.metrics for s in again] == [s.metrics for s in snapshots]


def test_a_run_continues_with_the_same_code_only(tmp_path, monkeypatch):
    """From the command line: with the file, without it, and with a changed one."""
    file, runs = plugin(tmp_path), [tmp_path / "whole", tmp_path / "cut"]
    options = [*SHORT, "--plugin"]
    for run in runs:
        assert main(["train", *options, str(file), "--loss", "mine", "--out", str(run)]) == 0
    lines = (runs[1] / "epochs.jsonl").read_text().splitlines(keepends=True)
    (runs[1] / "epochs.jsonl").write_text("".join(lines[:2]))
    (runs[1] / "states" / "2.pt").unlink()
    (runs[1] / "status.json").write_text(json.dumps(dict(state="stopped", message="", time=0)))
    monkeypatch.setattr(registry, "_parts", {})
    monkeypatch.setattr(registry, "_newest", {})
    monkeypatch.setattr(registry, "_plugins", {})
    runner = Runner.resume(runs[1])
    runner.run()
    assert "the code of 'custom: mine' is not loaded: pass the file" in runner.status.message
    other = tmp_path / "other"
    other.mkdir()
    registry.load_plugin(plugin(other, factor=3.0))
    runner = Runner.resume(runs[1])
    runner.run()
    assert "the code of 'mine' has changed" in runner.status.message
    assert main(["resume", str(runs[1]), "--plugin", str(file)]) == 0
    whole, cut = (read_records(run)[-1]["metrics"] for run in runs)
    assert whole == cut


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0", "cannot be imported: ZeroDivisionError"),
        ("def f(:", "cannot be imported: SyntaxError"),
        (None, "allowed is a Python file"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_one_sentence(text, message, tmp_path, capsys):
    file = tmp_path / "plugin.py"
    if text is not None:
        file.write_text(text)
    assert main(["train", "--plugin", str(file)]) == 2
    assert message in capsys.readouterr().err


def test_an_entry_point_of_an_installed_package_is_found(monkeypatch):
    entry = EntryPoint("doubled-twice", "tests.config.test_registry:doubled", "mixnn_lab.losses")
    asked = []

    def entry_points(*, group, name):
        asked.append(group)
        return [entry] if (group, name) == (entry.group, entry.name) else []

    monkeypatch.setattr(registry, "entry_points", entry_points)
    assert configure(loss="doubled-twice").method == "custom: doubled-twice"
    with pytest.raises(ConfigError, match="loss = 'other': allowed is ce | linear"):
        configure(loss="other")
    assert set(asked) == {"mixnn_lab.losses"}
    asked.clear()
    assert RunConfig(loss="custom:other@0123456789ab").method == "custom: other"
    assert not asked  # opening a run imports nothing


def test_a_folder_that_holds_code_only_shows_it(tmp_path):
    """A run folder may come from anybody: its text is never executed, nor too long a text read."""
    run = tmp_path / "run"
    runner = Runner.new(quick(epochs=2, loss=doubled), run, data=blobs())
    runner.run()
    info = json.loads((run / "config.json").read_text())
    info["parts"][0]["source"] = "raise SystemExit('executed')"
    info["parts"][0]["name"] = "<b>x</b>"
    info["config"]["loss"] = "custom:evil@0123456789ab"
    (run / "config.json").write_text(json.dumps(info))
    opened = RunFolder(run)
    assert opened.config.method == "custom: evil"
    assert opened.info["parts"][0]["source"] == "raise SystemExit('executed')"
    with pytest.raises(ConfigError, match="'custom: evil' is not loaded"):
        registry.require(opened.config.model_dump())
    for damage in ({"source": 3}, {"source": "x" * 100_001}):
        changed = info | {"parts": [info["parts"][0] | damage]}
        (run / "config.json").write_text(json.dumps(changed))
        with pytest.raises(StoreError, match="source"):
            RunFolder(run)


def test_a_part_of_this_process_alone_is_refused_in_a_sweep():
    config = configure(loss=lambda logits, targets: _plain(logits, targets))
    with pytest.raises(ConfigError, match="'custom: lambda': it is defined in this process alone"):
        registry.origins(config.model_dump())
    assert registry.origins(configure(loss=doubled).model_dump()) == [
        ("losses", "doubled", "tests.config.test_registry", "doubled")
    ]


@pytest.mark.slow
def test_a_sweep_trains_with_a_plugin(tmp_path):
    out = tmp_path / "out"
    options = [*SHORT, "--loss", "ce,mine"]
    assert main(["sweep", *options, "--plugin", str(plugin(tmp_path)), "--out", str(out)]) == 0
    methods = {RunFolder(p.parent).config.method for p in out.glob("*/config.json")}
    assert methods == {"mixnn", "custom: mine"}
