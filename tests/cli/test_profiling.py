"""What `bench` measures: the stages, what follows from them, the reference code's reference."""

import json

import numpy as np
import pytest
import torch

from engine.__main__ import main
from engine.errors import ConfigError
from engine.profiling import forecast, stages, steps
from engine.profiling.reference import ReferenceImplementation
from tests.conftest import blobs, quick


@pytest.fixture(scope="module", autouse=True)
def _small_products():
    """Measuring the peak of a machine takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "PEAK_SIZES", {"cpu": (256,)})
        stages.peak_flops.cache_clear()
        yield
    stages.peak_flops.cache_clear()


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A measurement of digits from the command line, its file and what was printed."""
    file = tmp_path_factory.mktemp("bench") / "digits.json"
    options = "--dataset digits --limit 200 --images 128 --turns 2 --reference 64 --profile"
    assert main(["bench", *options.split(), "--out", str(file)]) == 0
    return file, json.loads(file.read_text())


def test_numbers_follow_from_the_stages(measured):
    _, result = measured
    spent = {name: row["median"] for name, row in result["seconds"].items()}
    assert all(
        0 <= row["least"] <= row["median"] <= row["largest"] for row in result["seconds"].values()
    )
    parts = ("training", "evaluation", "mixture", "neighbors", "weights", "snapshot")
    epoch = sum(spent[name] for name in parts)
    assert result["mixnn_epoch_seconds"] == pytest.approx(epoch)
    assert result["mixnn_over_ce"] == pytest.approx(epoch / spent["ce training"])
    assert result["images_per_second"]["mixnn epoch"] == pytest.approx(200 / epoch)
    reference = spent["reference training"] + spent["reference evaluation"]
    assert result["times_the_reference"] == pytest.approx(reference / epoch)
    assert result["machine"]["processor"]
    assert result["peak_memory_mb"] > 50
    assert 0 < result["share_of_peak"]["training"] < 2
    assert len(result["largest_costs"]) == 3
    assert 0 < sum(cost["share"] for cost in result["largest_costs"]) <= 1


def test_a_stored_result_is_compared_with_a_new_one(measured, capsys):
    file, _ = measured
    options = ["--dataset", "digits", "--limit", "100", "--turns", "1"]
    assert main(["bench", *options, "--against", str(file)]) == 0
    out = capsys.readouterr().out
    assert "now / stored" in out
    assert "mixnn over ce" in out
    assert main(["bench", *options, "--against", str(file.with_name("none.json"))]) == 2
    assert "none.json cannot be read" in capsys.readouterr().err


def test_stored_and_new_seconds_are_divided_stage_by_stage():
    now = {"seconds": {"training": {"median": 3.0}, "new": {"median": 1.0}}}
    before = {"seconds": {"training": {"median": 2.0}, "gone": {"median": 1.0}}}
    assert stages.comparison(now, before)[1:] == [("training", "2.0000", "3.0000", "1.50")]


def test_cases_are_timed_in_turns_and_scaled(monkeypatch):
    calls, clock = [], iter(range(1000))
    monkeypatch.setattr(stages.time, "perf_counter", lambda: next(clock) ** 2)
    cases = {
        name: (lambda n=name: calls.append(n), factor) for name, factor in (("a", 1), ("b", 10))
    }
    found = stages.in_turns(cases, 3, torch.device("cpu"))
    assert calls == ["a", "b"] * 4
    # the clock shows 0, 1, 4, 9, ...: turn 0, which warms up, reads it twice, the others four times
    assert found["a"] == {"median": 7**2 - 6**2, "least": 3**2 - 2**2, "largest": 11**2 - 10**2}
    assert found["b"]["median"] == 10 * (9**2 - 8**2)


def test_operations_are_counted_as_by_hand():
    result = stages.measure(quick(dataset="digits", limit=40, augment="none"), turns=1)
    # four 3 x 3 convolutions at 8 x 8, 8 x 8, 4 x 4 and 2 x 2 pixels, then the head
    forward = 2 * 9 * (64 * 32 + 64 * 32 * 32 + 16 * 32 * 64 + 4 * 64 * 128) + 2 * 128 * 10
    seconds, peak = result["seconds"]["evaluation"]["median"], result["peak_tflops"] * 1e12
    assert result["share_of_peak"]["evaluation"] == pytest.approx(forward * 40 / seconds / peak)


def test_ways_to_run_a_step_are_measured_and_one_that_fails_is_named(monkeypatch):
    monkeypatch.setattr(steps, "ROUND_SECONDS", 0.01)
    monkeypatch.setitem(steps.WAYS, "broken", dict(precision="float8"))
    monkeypatch.setattr(steps, "ON_CPU", ("eager", "broken", "not deterministic"))
    config, data = quick(), blobs()  # 3 batches
    ways = dict(steps.step_times(config, data))
    assert list(ways) == ["eager", "broken", "not deterministic"]
    assert "float8" in ways["broken"]["error"]
    eager, other = ways["eager"], ways["not deterministic"]
    assert eager["loss"] == other["loss"] > 0  # a CPU computes the same
    assert 0 < eager["step_ms_least"] <= eager["step_ms"]
    expected = 3 * eager["step_ms"] / 1000 + eager["evaluation_s"]
    assert eager["epoch_s"] == pytest.approx(expected)
    least = steps.floor(config, data)
    images_ms = least["training_gflop_an_image"] * 32 / least["peak_tflops"]
    assert least["step_ms"] == pytest.approx(images_ms)  # GFLOP / TFLOP/s = ms


def test_the_fastest_way_is_one_that_computes_the_same():
    eager = dict(epoch_s=3.0, loss=2.0)
    ways = {
        "eager": eager,
        "compiled": dict(epoch_s=2.0, loss=2.1),
        "CUDA graphs": dict(epoch_s=1.0, loss=2.3),
        "not deterministic": dict(error="RuntimeError"),
    }
    assert steps.fastest(ways) == steps.WAYS["compiled"]
    assert steps.fastest({"eager": eager}) == steps.WAYS["eager"]
    assert steps.fastest({"eager": dict(error="no")}) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(images=5), "images = 5: allowed is 32 to 40"),
        (dict(turns=0), "turns = 0: allowed is 1 to 100"),
        (dict(reference=50), "reference = 50: allowed is 0 to 40"),
    ],
)
def test_bad_sizes_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        stages.measure(quick(dataset="digits", limit=40), **options)


@pytest.mark.slow
def test_the_reference_implementation_learns_and_finds_nearest_samples():
    features = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    far = ((features[:, None] - features) ** 2).sum(2)
    np.fill_diagonal(far, np.inf)
    np.testing.assert_array_equal(ReferenceImplementation._partners(features), far.argmin(1))
    data = blobs(96)
    reference = ReferenceImplementation(quick(), data, data.labels.numpy(), 96, torch.device("cpu"))
    for group in reference.optimizer.param_groups:
        assert group["weight_decay"] == quick().weight_decay
    for _ in range(12):
        reference.train()
        reference.evaluate()
    np.testing.assert_allclose(reference.soft.sum(1), 1, atol=1e-5)
    assert (reference.soft.argmax(1) == data.labels.numpy()).mean() > 0.9
    assert 0 <= reference.clean.min() < reference.clean.max() <= 1


def test_a_dry_run_says_how_large_the_run_folder_becomes(tmp_path, monkeypatch, capsys):
    options = ["--dataset", "digits", "--limit", "300", "--epochs", "6"]
    options += ["--state-interval", "2", "--threads", "1"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(forecast, "N_TRIED", 150)  # half of them
    assert main(["train", "--dry-run", "--json", *options]) == 0
    said = json.loads(capsys.readouterr().out)
    assert not list(tmp_path.iterdir()), "nothing is kept"
    assert (said["n"], said["n_tried"], said["batches"]) == (300, 150, 5)
    assert main(["train", "--out", "run", *options]) == 0
    size = sum(file.stat().st_size for file in (tmp_path / "run").rglob("*") if file.is_file())
    assert said["folder_bytes"] == pytest.approx(size, rel=0.2)
    assert said["seconds"] > 0
    assert said["memory_bytes"] > 50e6
    capsys.readouterr()
    assert main(["train", "--dry-run", *options]) == 0
    words = capsys.readouterr().out
    assert "6 epochs of 5 batches" in words
    assert "extrapolated from 150 samples" in words
    assert "3 states of the network" in words
