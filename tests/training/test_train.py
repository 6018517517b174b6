"""The loop: what each epoch leaves behind follows from the epoch before, for every method."""

import copy
import threading
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from engine import metrics
from engine.config import METHODS, configure, corrects, reference_preset
from engine.data.base import assemble
from engine.errors import ConfigError, TrainingError
from engine.hardware import session
from engine.method.leave_one_out import leave_one_out
from engine.method.mixing import mixing_weights
from engine.method.neighbors import nearest
from engine.method.patch_features import patch_features
from engine.training import evaluation
from engine.training.batches import draw_batches
from engine.training.control import Control, Stopped
from engine.training.evaluation import predict
from engine.training.noisy_labels import make_noisy_labels
from engine.training.state import State
from engine.training.train import epoch_plan, learning_rate, prepare_state, train
from tests.conftest import blobs, quick

QUIRKS = reference_preset("cifar10", 0.8) | dict(
    network="small",
    augment="shift",
    padding=1,
    epochs=6,
    warmup=1,
    correction_start=3,
    correction_interval=2,
    batch_size=32,
    loss_history=3,
    learning_rate=0.05,
    schedule_period=3,
)
ARRAYS = (
    "loss", "scaled_loss", "clean", "prediction", "confidence", "soft", "neighbors", "distances",
    "weights", "panel_features",
)  # fmt: skip


def assert_same(first, second):
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)
    assert first.metrics == second.metrics
    assert first.mixture == second.mixture


def logits_of(state: State, images: torch.Tensor, mirrored: bool = False) -> torch.Tensor:
    """What the network of a state says in evaluation mode."""
    network = state.evaluation_network()
    chunks = predict(state, network, images, Control(), 0, "evaluation", mirrored)
    return torch.cat([logits for logits, _ in chunks])


def test_shapes_and_types(data):
    *_, last = train(quick(k=2), data)
    n = data.n
    shapes = {name: getattr(last, name).shape for name in ARRAYS}
    assert shapes == {
        "loss": (n,), "scaled_loss": (n,), "clean": (n,), "prediction": (n,), "confidence": (n,),
        "soft": (n, 3), "neighbors": (n, 2), "distances": (n, 2), "weights": (n, 3),
        "panel_features": (n, 128),
    }  # fmt: skip
    np.testing.assert_allclose(last.soft.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(last.weights.sum(1), 1, atol=1e-5)
    assert last.settings == {"k": 2, "alpha": 0.9, "correction": "ema", "correction_start": 2}
    assert set(last.seconds) == {
        "neighbors",
        "training",
        "evaluation",
        "mixture",
        "test",
        "snapshot",
    }


def test_weights_come_from_the_clean_probabilities_of_the_epoch_before(data):
    before, *rest = list(train(quick(k=3), data))
    for after in rest:
        expected = mixing_weights(
            torch.from_numpy(before.clean), torch.from_numpy(after.neighbors).long()
        )
        np.testing.assert_array_equal(after.weights, expected)
        assert (after.neighbors != np.arange(data.n)[:, None]).all()
        before = after


def test_neighbors_are_nearest_in_the_features_of_the_epoch_before(data):
    before, after, *_ = list(train(quick(k=3, panel_size=1000), data))
    features = torch.from_numpy(before.panel_features)  # the panel holds all samples here
    indices, distances = nearest(features, 3, backend="exact")
    np.testing.assert_array_equal(after.neighbors, indices)
    np.testing.assert_allclose(after.distances, distances, rtol=1e-4)


def test_the_look_at_the_set_is_in_evaluation_mode(data):
    config = quick()
    state = prepare_state(config, data)
    next(train(config, data, state=state))
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    state.model.train()
    whole, part = (logits_of(state, images) for images in (data.images, data.images[:5]))
    torch.testing.assert_close(whole[:5], part)
    assert all(torch.equal(v, before[name]) for name, v in state.model.state_dict().items())


def test_labels_stand_still_until_correction_starts_and_then_move_by_alpha(data):
    config = quick(alpha=0.8, correction_start=2, epochs=4)
    given = make_noisy_labels(config, data).given
    snapshots = []
    state = prepare_state(config, data)
    for snapshot in train(config, data, state=state):
        snapshots.append((snapshot, logits_of(state, data.images).softmax(1).numpy()))
    soft = np.eye(3)[given]
    for snapshot, probabilities in snapshots:
        if snapshot.epoch >= 2:
            soft = 0.8 * soft + 0.2 * probabilities
        np.testing.assert_allclose(snapshot.soft, soft, atol=1e-6)
        hard = soft.argmax(1)
        loss = -np.log(probabilities[np.arange(data.n), hard])
        np.testing.assert_allclose(snapshot.loss, loss, rtol=1e-3, atol=1e-5)
        np.testing.assert_array_equal(snapshot.prediction, probabilities.argmax(1))


def test_labels_move_toward_aligned_and_sharpened_predictions(data):
    config = quick(align="uniform", sharpen=0.5, alpha=0.7, correction_start=2)
    state = prepare_state(config, data)
    soft, shares = np.eye(3)[make_noisy_labels(config, data).given], None
    for snapshot in train(config, data, state=state):
        toward = said = logits_of(state, data.images).softmax(1).numpy()
        if snapshot.epoch >= 2:
            toward = toward / 3 / shares
            toward = (toward / toward.sum(1, keepdims=True)) ** 2
            soft = 0.7 * soft + 0.3 * toward / toward.sum(1, keepdims=True)
        shares = said.mean(0)
        np.testing.assert_allclose(snapshot.soft, soft, atol=1e-5)


def test_the_moving_average_of_the_weights_is_evaluated(data, monkeypatch):
    config, steps = quick(weight_ema=0.8, epochs=3), []
    step = State.optimizer_step

    def record(state):
        step(state)
        steps.append(copy.deepcopy(state.model.state_dict()))

    state = prepare_state(config, data)
    expected = copy.deepcopy(state.model.state_dict())
    monkeypatch.setattr(State, "optimizer_step", record)
    *_, last = train(config, data, state=state)
    for number, weights in enumerate(steps, start=1):
        momentum = min(0.8, number / (number + 10))
        for name, value in weights.items():
            expected[name] = momentum * expected[name] + (1 - momentum) * value
    for name, value in state.average.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, expected[name])
    confidence = logits_of(state, data.images).softmax(1).max(1).values
    np.testing.assert_allclose(last.confidence, confidence, atol=1e-6)
    state.average = None
    own = logits_of(state, data.images).softmax(1).max(1).values
    assert (confidence - own).abs().max() > 1e-3


def test_an_image_and_its_mirror_are_asked_together(data):
    config = quick(flip_average="all", epochs=2)
    state = prepare_state(config, data)
    *_, last = train(config, data, state=state)
    both = (logits_of(state, data.images) + logits_of(state, data.images.flip(3))) / 2
    torch.testing.assert_close(logits_of(state, data.images, mirrored=True), both)
    np.testing.assert_allclose(last.confidence, both.softmax(1).max(1).values, atol=1e-6)


@pytest.mark.parametrize("settings", [dict(k=2), QUIRKS, dict(method="elr")])
def test_a_large_table_of_soft_labels_is_kept_in_half_precision(settings, data, monkeypatch):
    config = quick(**dict(epochs=6) | settings)
    whole = list(train(config, data))
    monkeypatch.setattr("engine.training.state.HALF_PRECISION_ENTRIES", 0)
    half = list(train(config, data))
    assert half[0].soft.dtype == np.float16
    first = config.correction_start
    np.testing.assert_allclose(half[first].soft, whole[first].soft, atol=5e-3)
    np.testing.assert_allclose(half[-1].soft.sum(1), 1, atol=5e-3)
    assert half[-1].metrics["test_accuracy"] == pytest.approx(
        whole[-1].metrics["test_accuracy"], abs=0.1
    )


@pytest.mark.parametrize("settings", [dict(), dict(unmixed_forward=True)], ids=str)
def test_a_compiled_step_trains_the_same(settings, data, monkeypatch):
    plain = list(train(quick(**settings, epochs=3), data))
    seen = []

    def compiled(model, **options):  # Dynamo's part alone; the code it would generate takes minutes
        seen.append(options)
        return compile_(model, backend="eager", dynamic=options["dynamic"])

    class Watched(Control):
        def report_progress(self, epoch, stage, batch, n_batches):
            stages.append((epoch, stage))
            super().report_progress(epoch, stage, batch, n_batches)

    compile_, stages = torch.compile, []
    monkeypatch.setattr(torch, "compile", compiled)
    config = quick(**settings, epochs=3, compile="reduce-overhead")
    for first, second in zip(plain, train(config, data, control=Watched()), strict=True):
        np.testing.assert_allclose(first.loss, second.loss, atol=1e-4)
    assert [epoch for epoch, stage in stages if stage == "compiling"] == [0]
    # the step once, and the evaluation of each epoch
    assert [options["mode"] for options in seen] == ["reduce-overhead"] * (1 + 3)


def test_a_network_that_cannot_be_compiled_says_so_and_what_to_do(data, monkeypatch):
    def broken(graph, inputs):
        raise ValueError("no compiler here")

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, **options: compile_(model, backend=broken))
    with pytest.raises(TrainingError, match='(?s)no compiler here.*compile = "none" it trains'):
        list(train(quick(epochs=3, compile="default"), data))


def test_phases_and_losses_of_the_plain_method_and_of_the_reference():
    plain = quick(warmup=2, correction_start=4)
    assert [epoch_plan(plain, e) for e in (0, 1, 2, 4)] == [
        ("warmup", "none", "ce"),
        ("warmup", "none", "ce"),
        ("early", "neighbors", "ce"),
        ("main", "neighbors", "ce"),
    ]
    quirks = quick(**QUIRKS)
    assert [epoch_plan(quirks, e) for e in (0, 1, 3, 4)] == [
        ("warmup", "none", "ce"),
        ("early", "mixup", "linear"),
        ("main", "mixup", "ce"),  # soft targets while mixing is still random
        ("main", "neighbors", "ce"),
    ]
    assert epoch_plan(quick(method="gce", warmup=1), 3) == ("main", "none", "gce")
    assert learning_rate(quirks, 0.9) == 0.05, "warm restarts move in whole epochs"
    authors = configure(preset="reference", dataset="cifar10")
    moving = [e for e in range(300) if corrects(authors, e)]
    assert moving == list(range(59, 300, 10))
    lowest = min(learning_rate(authors, e) for e in range(300))
    assert all(learning_rate(authors, e) == lowest for e in moving), "the bottom of each cycle"


def test_elr_before_correction_keeps_its_targets_until_correction_starts(data):
    config = quick(early_loss="elr", warmup=1, correction_start=3, epochs=5)
    assert [epoch_plan(config, epoch)[2] for epoch in range(5)] == ["ce", "elr", "elr", "ce", "ce"]
    state = prepare_state(config, data)
    kept = [state.memory.clone()]
    kept += [state.memory.clone() for _ in train(config, data, state=state)]
    moved = [not torch.equal(before, after) for before, after in pairwise(kept)]
    assert moved == [False, True, True, False, False]


def test_the_reference_searches_inside_batches_and_moves_labels_every_second_epoch(data):
    config = quick(**QUIRKS)
    state = prepare_state(config, data)
    snapshots = list(train(config, data, state=state))
    changed = [
        not np.array_equal(a.soft, b.soft) for a, b in zip(snapshots, snapshots[1:], strict=False)
    ]
    # labels move after every second epoch from epoch 3 on: in 3 and 5
    assert changed == [False, False, True, False, True]
    mixed = snapshots[4]
    assert snapshots[0].neighbors.shape == (data.n, 0)
    assert np.isnan(snapshots[1].distances).all(), "mixup's partners are random"
    assert not np.isnan(mixed.distances).any()
    # replay the generator: three batches, each sample's neighbor is in its own
    replay = prepare_state(config, data)
    for epoch in range(5):
        batches = draw_batches(replay, "warmup" if epoch < 1 else "main")
        if snapshots[epoch].phase != "warmup" and epoch < 4:
            for batch in batches:  # mixup draws a weight and a permutation for each
                replay.rng.beta(1, 1)
                replay.rng.permutation(len(batch))
    for batch in batches:
        rows = batch.numpy()
        assert np.isin(mixed.neighbors[rows], rows).all()
    assert sorted(np.concatenate(batches).tolist()) == list(range(data.n))


@pytest.mark.parametrize("settings", [dict(k=2, weight_ema=0.8), QUIRKS], ids=["mixnn", "quirks"])
def test_batch_statistics_are_those_of_unmixed_and_mixed_images(settings, data):
    """One forward pass a batch in warm-up, two after it, also where labels move by the batch."""
    config = quick(**dict(epochs=6) | settings | dict(unmixed_forward=True))
    state = prepare_state(config, data)
    norm = next(m for m in state.model.modules() if isinstance(m, torch.nn.BatchNorm2d))
    seen = []
    norm.register_forward_pre_hook(lambda module, args: seen.append((module.training, args[0])))
    mean, variance, n_batches = torch.zeros(norm.num_features), torch.ones(norm.num_features), 3
    for snapshot in train(config, data, state=state):
        batches = [values.detach() for training, values in seen if training]
        assert len(batches) == n_batches * (1 if snapshot.epoch < config.warmup else 2)
        if snapshot.epoch >= config.warmup:
            spread = [float(b.var()) for b in batches]  # mixing averages images
            assert np.mean(spread[::2]) > np.mean(spread[1::2])
        for values in batches:
            mean = 0.9 * mean + 0.1 * values.mean((0, 2, 3))
            variance = 0.9 * variance + 0.1 * values.transpose(0, 1).flatten(1).var(1)
        torch.testing.assert_close(norm.running_mean, mean)
        torch.testing.assert_close(norm.running_var, variance)
        seen.clear()


def test_the_forward_pass_of_unmixed_images_only_moves_batch_statistics(data):
    """Mixup looks at no evaluation, so that its weights are those without the pass."""
    networks = []
    for unmixed_forward in (False, True):
        config = quick(method="mixup", unmixed_forward=unmixed_forward)
        state = prepare_state(config, data)
        list(train(config, data, state=state))
        networks.append(state.model)
    one, two = networks
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    running = [dict(network.named_buffers()) for network in networks]
    assert any(not torch.equal(running[0][name], running[1][name]) for name in running[0])


def test_without_mixing_there_is_no_second_forward_pass(data):
    plain, same = (
        list(train(quick(method="ce", unmixed_forward=value, epochs=3), data))
        for value in (False, True)
    )
    for first, second in zip(plain, same, strict=True):
        assert_same(first, second)


def test_the_noise_does_not_show_in_the_order_of_the_batches():
    """Both draw permutations of N from the run's seed; the same stream would sort by noise."""
    for seed in range(3):
        config = quick(seed=seed, batch_size=100)
        state = prepare_state(config, blobs(1000))
        wrong = torch.from_numpy(state.noisy_labels.given != state.noisy_labels.true)
        shares = [float(wrong[b].float().mean()) for b in draw_batches(state, "warmup")]
        # share 0.27 in batches of 100: a standard deviation of 0.044
        assert np.std(shares) < 0.1, shares


def test_loss_history_averages_what_the_mixture_sees(data):
    snapshots = list(train(quick(method="ce", loss_history=2, epochs=3), data))

    def scale(values):
        return (values - values.min()) / (values.max() - values.min())

    for before, after in zip(snapshots, snapshots[1:], strict=False):
        expected = (scale(before.loss) + scale(after.loss)) / 2
        np.testing.assert_allclose(after.scaled_loss, expected, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_clean_blobs_and_repeats_itself(method, data):
    config = quick(method=method, noise="none", epochs=6)
    runs = [list(train(config, data)) for _ in range(2)]
    for first, second in zip(*runs, strict=True):
        assert_same(first, second)
    assert runs[0][-1].metrics["test_accuracy"] > 0.9
    assert runs[0][-1].metrics["label_accuracy"] > 0.95


@pytest.mark.parametrize(
    "settings",
    [dict(method=m) for m in METHODS]
    + [QUIRKS, dict(optimizer="adamw", learning_rate=0.01), dict(warmup=0), dict(loss_history=3)]
    + [dict(weight_ema=0.9), dict(align="given", sharpen=0.5), dict(cutout=3, jitter=0.2)]
    + [dict(randaugment=0.5), dict(correction="refine", clean_from="vote", vote_k=7)]
    + [dict(correction="relabel", relabel_threshold=0.6), dict(correction="soft-posterior")]
    + [dict(unmixed_forward=True), dict(vote_from="linear", method="mixnn-plus")],
    ids=lambda settings: settings.get("method") or next(iter(settings)),
)
def test_a_stored_state_continues_bit_by_bit(settings, data, tmp_path):
    config = quick(**dict(epochs=6) | settings)
    whole = list(train(config, data))
    state = prepare_state(config, data)
    for snapshot in train(config, data, state=state):
        if snapshot.epoch == 2:
            torch.save(state.state_dict(), tmp_path / "state.pt")
            break
    packed = torch.load(tmp_path / "state.pt", weights_only=True)
    torch.manual_seed(123)  # the process-wide generator plays no part
    rest = list(train(config, data, state=prepare_state(config, data, packed)))
    assert [s.epoch for s in rest] == [3, 4, 5]
    for first, second in zip(whole[3:], rest, strict=True):
        assert_same(first, second)


def test_a_linear_vote_on_given_labels_begins_the_run_and_can_be_stopped(data):
    config = quick(method="mixnn-plus", vote_from="linear", correction="soft-posterior")

    class Stopping(Control):
        def report_progress(self, epoch, stage, done, total):
            seen.append(stage)
            if stage == stop_at:
                self.stop()
            super().report_progress(epoch, stage, done, total)

    seen, stop_at = [], "votes"
    with pytest.raises(Stopped):
        next(train(config, data, control=Stopping()))
    assert seen == ["votes"]
    seen, stop_at = [], ""
    first, *_, last = train(config, data, control=Stopping())
    votes = leave_one_out(
        patch_features(data.images, seed=config.seed),
        torch.from_numpy(prepare_state(config, data).noisy_labels.given),
        data.n_classes,
    )
    assert np.abs(first.votes / 255 - votes.numpy()).max() <= 1 / 255
    assert last.votes is None  # labels have been corrected
    assert first.votes.dtype == np.uint8


def test_three_runs_at_once_are_three_runs_alone(data):
    configs = [quick(seed=seed, k=2) for seed in (0, 1, 2)]
    alone = [list(train(config, data)) for config in configs]
    together: dict[int, list] = {}

    def work(config):
        together[config.seed] = list(train(config, data))

    threads = [threading.Thread(target=work, args=(config,)) for config in configs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for config, expected in zip(configs, alone, strict=True):
        for first, second in zip(expected, together[config.seed], strict=True):
            assert_same(first, second)
    assert (alone[0][-1].loss != alone[1][-1].loss).any(), "seeds differ"


def test_live_changes_act_at_the_next_epoch_and_stand_in_its_snapshot(data):
    control = Control()
    seen = []
    for snapshot in train(quick(epochs=5, k=1), data, control=control):
        seen.append((snapshot.settings["k"], snapshot.settings["alpha"], snapshot.weights.shape[1]))
        if snapshot.epoch == 2:
            control.change(k=4, alpha=0.5)
    assert seen == [(1, 0.9, 1), (1, 0.9, 2), (1, 0.9, 2), (4, 0.5, 5), (4, 0.5, 5)]


def test_correction_can_be_switched_off_and_on_while_training(data):
    control = Control()
    soft = []
    for snapshot in train(quick(epochs=5, correction_start=1), data, control=control):
        soft.append(snapshot.soft)
        if snapshot.epoch == 1:
            control.change(correction="none")
        if snapshot.epoch == 3:
            control.change(correction="ema")
    moved = [not np.array_equal(a, b) for a, b in zip(soft, soft[1:], strict=False)]
    assert moved == [True, False, False, True]


def test_stop_is_obeyed_within_a_batch(data):
    control = Control()
    ticks = []
    report = control.report_progress

    def stop_at_second_batch(epoch, stage, batch, n_batches):
        ticks.append((epoch, stage, batch))
        if (epoch, stage, batch) == (1, "training", 2):
            control.stop()
        report(epoch, stage, batch, n_batches)

    control.report_progress = stop_at_second_batch
    with pytest.raises(Stopped):
        list(train(quick(), data, control=control))
    assert ticks[-1] == (1, "training", 2)


def test_a_fork_with_other_noise_starts_with_other_labels(data):
    config = quick(epochs=3, seed=1)
    state = prepare_state(config, data)
    list(train(config, data, state=state))
    other = prepare_state(config.changed(rate=0.8, epochs=5), data, state.state_dict())
    np.testing.assert_array_equal(other.soft.argmax(1), other.noisy_labels.given)
    assert (other.noisy_labels.given != state.noisy_labels.given).any()
    assert [s.epoch for s in train(other.config, data, state=other)] == [3, 4]


def test_truth_may_be_unknown_and_may_come_with_noisy_labels():
    clean = blobs()
    noisy = clean.labels.clone()
    noisy[:10] = (noisy[:10] + 1) % 3
    parts = ((clean.images, noisy), (clean.test_images, clean.test_labels), clean.classes)
    unknown = assemble("own", *parts)
    known = assemble("own", *parts, true_labels=clean.labels)
    *_, blind = train(quick(noise="none"), unknown)
    *_, with_truth = train(quick(noise="none"), known)
    assert blind.metrics["memorized"] is None
    assert blind.metrics["test_accuracy"] == with_truth.metrics["test_accuracy"]
    assert with_truth.metrics["label_accuracy"] is not None
    assert make_noisy_labels(quick(noise="none"), known).rate_actual == pytest.approx(10 / 96)
    assert make_noisy_labels(quick(noise="none"), unknown).rate_actual is None
    assert make_noisy_labels(quick(), unknown).rate_actual > 0.1, (
        "with noise added, what came is the truth"
    )


def test_no_test_part_is_no_obstacle():
    clean = blobs()
    bare = assemble("own", (clean.images, clean.labels), None, clean.classes)
    *_, last = train(quick(), bare)
    assert "test_accuracy" not in last.metrics


def test_odd_sizes_a_last_batch_of_one_and_two_samples():
    for n in (2, 33, 65):
        *_, last = train(quick(epochs=3, k=1, noise="none"), blobs(n, 2))
        assert np.isfinite(last.loss).all()


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_nothing_wrong_and_everything_wrong(rate, data):
    *_, last = train(quick(noise="symmetric-exclusive", rate=rate), data)
    assert np.isfinite(last.clean).all()
    assert (last.metrics["memorized"] is None) == (rate == 0)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_alpha_at_its_ends(alpha, data):
    *_, last = train(quick(alpha=alpha), data)
    np.testing.assert_allclose(last.soft.sum(1), 1, atol=1e-5)
    if alpha == 1:
        assert last.metrics["changed_labels"] == 0


def test_k_of_all_others_and_beyond(data):
    *_, last = train(quick(k=95, epochs=2), data)
    assert last.neighbors.shape == (96, 95)
    with pytest.raises(ConfigError, match="k = 96: allowed is 1 to 95 for 96 samples"):
        next(train(quick(k=96), data))
    # 65 samples in batches of at most 32 make batches of 22, 22 and 21
    with pytest.raises(ConfigError, match="k = 21: allowed is 1 to 20 inside batches of 21"):
        next(train(quick(k=21, neighbor_scope="batch"), blobs(65)))
    assert list(train(quick(k=20, neighbor_scope="batch"), blobs(65)))


def test_thin_images_are_refused():
    thin = blobs()
    flat = assemble("own", (thin.images[:, :, :3], thin.labels), None, thin.classes)
    with pytest.raises(ConfigError, match="3 x 8 pixels: allowed are sides of 8 or more"):
        next(train(quick(), flat))


def test_a_pause_is_no_computing_time(data):
    control = Control()
    epochs = train(quick(epochs=2), data, control=control)
    next(epochs)
    control.pause()
    threading.Timer(0.5, control.resume).start()
    assert sum(next(epochs).seconds.values()) < 0.4
    assert control.seconds_waited > 0.4


def test_every_second_of_an_epoch_belongs_to_a_stage(data, monkeypatch):
    label_metrics = metrics.label_metrics

    def slow(*arguments):
        time.sleep(0.3)
        return label_metrics(*arguments)

    monkeypatch.setattr(metrics, "label_metrics", slow)
    epochs = train(quick(epochs=4), data)
    next(epochs)
    for _ in range(3):
        start = time.perf_counter()
        snapshot = next(epochs)
        seconds = time.perf_counter() - start
        assert snapshot.seconds["snapshot"] >= 0.3
        assert 0.95 * seconds < sum(snapshot.seconds.values()) <= seconds


def test_the_test_part_is_measured_every_nth_epoch_and_after_the_last(data):
    every, third = (list(train(quick(k=2, epochs=8, test_interval=n), data)) for n in (1, 3))
    tested = [s.epoch for s in third if s.metrics["test_accuracy"] is not None]
    assert tested == [2, 5, 7]
    for a, b in zip(every, third, strict=True):
        if b.epoch in tested:
            assert_same(a, b)
        else:
            missing = {"test_accuracy": None, "test_calibration_error": None}
            assert b.metrics == a.metrics | missing
            np.testing.assert_array_equal(a.soft, b.soft)


def test_arrays_of_a_snapshot_are_copies(data):
    state = prepare_state(quick(), data)
    snapshot = next(train(quick(), data, state=state))
    soft = snapshot.soft.copy()
    state.soft.zero_()
    np.testing.assert_array_equal(snapshot.soft, soft)
    for name in ARRAYS:
        assert getattr(snapshot, name).flags.c_contiguous, name


def test_nothing_process_wide_is_set_between_two_epochs(data, monkeypatch):
    limits = []
    monkeypatch.setattr("engine.hardware._set_memory_limits", lambda *both: limits.append(both))
    epochs = train(quick(epochs=2), data)
    next(epochs)
    assert limits == [(2**30, 2**31 - 1), (2**25, 2**26)]  # as glibc would set them
    with session(torch.device("cpu")):  # as code that executes a complete run does
        next(epochs)
        assert limits[2:] == [(2**30, 2**31 - 1)]
    assert limits[3:] == [(2**25, 2**26)]


def test_runs_in_turns_keep_their_threads(data):
    seen = []
    one, two = (train(quick(threads=n, epochs=3), data) for n in (1, 2))
    outside = torch.get_num_threads()
    for _ in zip(one, two, strict=True):
        seen.append(torch.get_num_threads())
    assert seen == [outside] * 3


def test_a_state_of_other_settings_is_refused(data):
    with pytest.raises(ValueError, match="not the one that state was made with"):
        next(train(quick(k=2), data, state=prepare_state(quick(), data)))


def test_a_run_moves_to_another_kind_of_device(data):
    """Its generator cannot come along; all else does."""
    state = prepare_state(quick(), data)
    next(train(quick(), data, state=state))
    packed = state.state_dict() | {
        "device": "cuda",
        "generator": torch.zeros(16, dtype=torch.uint8),
    }
    moved = prepare_state(quick(), data, packed)
    assert moved.epoch == 0
    assert torch.equal(moved.model.head.weight, state.model.head.weight)
    assert len(list(train(quick(), data, state=moved))) == 4


def test_a_lost_loss_says_what_to_try(data):
    with pytest.raises(
        TrainingError, match="(became nan|are no longer finite) in epoch.*below 100"
    ):
        list(train(quick(learning_rate=100, weight_decay=1, momentum=0.99, epochs=60), data))


def test_soft_labels_by_bayes_rule_are_probabilities_of_all_classes(data):
    settings = dict(method="mixnn-plus", rate=0.3, epochs=4)
    *_, hard = train(quick(**settings), data)
    *_, soft = train(quick(**settings, correction="soft-posterior"), data)
    assert set(np.unique(hard.soft)) == {0.0, 1.0}
    np.testing.assert_allclose(soft.soft.sum(1), 1, atol=1e-5)
    assert ((soft.soft > 0) & (soft.soft < 1)).any(1).mean() > 0.2
    # the loss is that of the current label, also where neighbors prefer another than the network
    agrees = soft.soft.argmax(1) == soft.prediction
    least = -np.log(soft.confidence)
    np.testing.assert_allclose(soft.loss[agrees], least[agrees], atol=1e-4, rtol=1e-3)
    assert (soft.loss[~agrees] > least[~agrees]).all()


@pytest.mark.parametrize(("surely", "moves"), [(0.009, False), (0.011, True)])
def test_labels_move_only_where_some_are_certainly_wrong(data, monkeypatch, surely, moves):
    estimate = evaluation.estimate_noise

    def certain(votes, given, voter):
        found = estimate(votes, given, voter)
        return replace(found, interval=(surely * len(given), found.interval[1]))

    monkeypatch.setattr(evaluation, "estimate_noise", certain)
    *_, last = train(quick(method="mixnn-plus", rate=0.3, epochs=4), data)
    assert (last.metrics["changed_labels"] > 0) == moves
