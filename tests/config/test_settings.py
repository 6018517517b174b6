"""Bad settings are refused by an error that names setting, value and what is allowed."""

import json

import pytest

from engine.config import (
    GROUPS,
    LIVE,
    METHOD_NOTES,
    METHODS,
    PRESETS,
    RunConfig,
    allowed,
    choices,
    configure,
    group_of,
    registry,
)
from engine.data import DATASETS
from engine.errors import ConfigError
from engine.noise import class_dependent
from engine.runs.folder import RunFolder
from engine.runs.naming import run_name
from engine.runs.runner import Runner
from tests.conftest import blobs, quick


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "k = 0: allowed is a whole number from 1 to 100"),
        ({"alpha": 1.5}, "alpha = 1.5: allowed is a number from 0 to 1"),
        ({"alpha": float("nan")}, "alpha = nan: allowed is"),
        ({"rate": "much"}, "rate = 'much': allowed is a number from 0 to 1"),
        ({"mixing": "cutmix"}, r"mixing = 'cutmix': allowed is none \| mixup \| neighbors"),
        ({"learning_rate": 0}, "learning_rate = 0: allowed is a number above 0"),
        ({"device": "tpu"}, "device = 'tpu': allowed is auto, cpu, cuda or cuda:N"),
        ({"kk": 3}, "kk = 3: no such setting"),
        ({"warmup": 9, "correction_start": 3}, r"correction_start = 3: allowed is warmup \(9\)"),
        (
            {"correction": "relabel", "correction_source": "batch"},
            "correction = 'relabel': allowed are none and ema where correction_source is batch",
        ),
        (
            {"sampling": "clean", "neighbor_scope": "batch"},
            "sampling = 'clean': allowed is uniform where neighbor_scope is batch",
        ),
        ({"learning_rate": 1e-4}, "learning_rate_min = 0.001: allowed is 0 to"),
        ({"noise": "matrix"}, "'matrix' and noise_matrix go together"),
        ({"method": "magic"}, "method = 'magic': allowed are ce, mixup"),
        ({"preset": "x"}, "preset = 'x': allowed are auto, reference, cifar10-fast"),
        ({"preset": "reference", "rate": "abc"}, "rate = 'abc': allowed is a number"),
        ({"k": 0, "alpha": 2}, "k = 0.*; alpha = 2"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        configure(**{"preset": "plain"} | settings)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_is_its_row_of_knobs_and_knows_its_name(method):
    config = configure(method=method)
    assert config.method == method
    for name, value in METHODS[method].items():
        assert getattr(config, name) == value


def test_unnamed_combinations_are_custom():
    assert configure(method="mixup", loss="gce").method == "custom"


def test_a_knob_beats_the_method_and_the_method_the_preset():
    assert configure(dataset="digits").epochs == PRESETS["digits"]["epochs"]
    assert configure(dataset="digits", epochs=3).epochs == 3
    assert configure(dataset="digits", method="gce").warmup == 0
    assert configure(dataset="digits", method="gce", warmup=1).warmup == 1
    assert configure(dataset="npz:a/b.npz").network == PRESETS["npz"]["network"]


def test_the_reference_preset_switches_every_quirk_on():
    plain, quirks = configure(preset="plain"), configure(preset="reference", dataset="cifar10")
    expected = dict(
        neighbor_scope="batch",
        early_mixing="mixup",
        early_loss="linear",
        early_extra=1,
        correction_interval=10,
        correction_source="batch",
        warmup_shuffle=False,
        warmup_augment=False,
        unmixed_forward=True,
        precision="float32",
        warmup=9,
        best_on="test",
        correction_start=59,
        network="resnet34",
        schedule="warm-restarts",
        learning_rate=0.02,
        k=1,
        alpha=0.9,
        epochs=300,
    )
    assert {name: getattr(quirks, name) for name in expected} == expected
    for name in list(expected)[:12]:
        assert getattr(plain, name) != getattr(quirks, name), name
    assert quirks.loss_history == 1
    assert configure(preset="reference", dataset="cifar10", rate=0.8).loss_history == 5
    assert configure(preset="reference", dataset="cifar100").warmup == 29


def test_runs_that_end_too_early_are_doubted():
    assert configure().warnings == []
    mixes, corrects = configure(epochs=2, warmup=2, correction_start=3).warnings
    assert "nothing is mixed" in mixes
    assert "no label is corrected" in corrects
    assert configure(method="ce", epochs=2, warmup=2).warnings == []


def test_settings_are_frozen_and_survive_json():
    config = configure(noise="matrix", noise_matrix=[[1, 0], [0.5, 0.5]])
    with pytest.raises(ValueError, match="frozen"):
        config.k = 3
    assert RunConfig(**json.loads(config.model_dump_json())) == config


def test_only_live_knobs_change_while_a_run_trains():
    config = configure()
    assert config.changed_live(k=3, alpha=0.5).k == 3
    with pytest.raises(ConfigError, match="batch_size = 3 cannot change while.*k, alpha"):
        config.changed_live(batch_size=3)
    with pytest.raises(ConfigError, match="alpha = 7"):
        config.changed_live(alpha=7)


def test_choices_agree_with_the_modules_that_carry_them_out():
    assert set(choices("noise")) == set(class_dependent.NOISE_NOTES)
    assert {row["loss"] for row in METHODS.values()} <= set(choices("loss"))
    for kind, names in registry.BUILT_IN.items():
        for name in names:
            assert callable(registry.function(kind, name)), (kind, name)
    assert set(METHOD_NOTES) == set(METHODS)
    assert set(LIVE) <= set(RunConfig.model_fields)
    assert set(PRESETS) == set(DATASETS)


def test_every_knob_has_a_description_and_says_what_is_allowed():
    for name, field in RunConfig.model_fields.items():
        assert field.description, name
        assert allowed(name), name
    assert allowed("momentum") == "a number from 0 below 1"
    assert allowed("limit") == "a whole number from 2"


def test_every_setting_is_in_a_group():
    groups = {name: group_of(name) for name in RunConfig.model_fields}
    assert set(groups.values()) == set(GROUPS)
    assert groups["noise_seed"] == "noise"
    assert groups["weight_ema"] == "optimization"
    assert groups["threads"] == "machine"


def test_older_names_still_mean_the_same_and_are_written_under_the_new_one():
    assert configure(preset="fast") == configure(preset="cifar10-fast")
    assert configure(preset="best") == configure(preset="cifar10-best")
    stored = configure(network="resnet9-w16").model_dump(mode="json") | {"network": "fast"}
    config = RunConfig.model_validate_json(json.dumps(stored))
    assert config.network == "resnet9-w16"
    assert config == configure(network="fast")
    assert json.loads(config.model_dump_json())["network"] == "resnet9-w16"


def test_folders_of_older_runs_keep_their_names():
    """As a sweep named them when the network was called `fast`, to be found there again."""
    older = dict(network="resnet9-w16", rate=0.2, vote_from="neighbors")
    made = run_name(configure(dataset="shapes:500", **older))
    assert made == "shapes-500-mixnn-symmetric0.2-seed0-7a482e22"


def test_varied_replaces_the_method_and_drops_an_unused_matrix():
    base = configure(noise="matrix", noise_matrix=[[1, 0], [0.5, 0.5]], method="elr", k=7)
    assert base.varied(method="mixup", seed=3).method == "mixup"
    assert base.varied(noise="pair").noise_matrix is None
    assert base.varied(seed=3).noise_matrix == base.noise_matrix
    assert base.varied(k=2) == base.changed(k=2)


def test_a_folder_written_under_an_older_name_opens_under_the_new_one(tmp_path):
    """Read, resumed, forked and used for predictions, as before the network's new name."""
    config = quick(network="resnet9-w16", epochs=2, warmup=1)
    Runner.new(config, tmp_path / "run", data=blobs()).run()
    for path in (tmp_path / "run").glob("config.json"):
        info = json.loads(path.read_text())
        info["network"] = info["config"]["network"] = "fast"
        path.write_text(json.dumps(info))
    run = RunFolder(tmp_path / "run")
    assert (run.config, run.info["network"]) == (config, "resnet9-w16")
    Runner.fork(tmp_path / "run", 0, tmp_path / "fork", data=blobs(), seed=3).run()
    forked = RunFolder(tmp_path / "fork")
    assert (forked.status["state"], forked.config.network) == ("done", "resnet9-w16")
    assert json.loads((tmp_path / "fork" / "config.json").read_text())["network"] == "resnet9-w16"


def test_mixnn_plus_may_be_written_with_a_plus_sign():
    config = configure(method="mixnn+")
    assert config == configure(method="mixnn-plus")
    assert config.method == "mixnn-plus"
    assert configure().varied(method="mixnn+").method == "mixnn-plus"
