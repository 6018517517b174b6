"""On a GPU: the leaves give what they give on the CPU, and a run repeats itself."""

import numpy as np
import pytest
import torch

from engine.method import losses
from engine.method.augmentation import augment, normalize
from engine.method.mixing import mix, mixing_weights
from engine.method.mixture import fit_clean_probability
from engine.method.neighbors import nearest
from engine.method.soft_labels import ema_update, one_hot
from engine.profiling.self_check import self_check
from engine.training.batches import draw_batches, find_partners
from engine.training.control import Control
from engine.training.evaluation import estimate_clean_probability, evaluate
from engine.training.train import prepare_state, train, train_epoch
from tests.conftest import blobs, quick

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")


def on_both(function, *tensors: torch.Tensor):
    """The function's results on the CPU, and on the GPU copied to the CPU."""
    results = [function(*(t.to(device) for t in tensors)) for device in ("cpu", "cuda")]
    assert results[1].device.type == "cuda"
    return results[0], results[1].cpu()


def test_leaves_agree_with_the_cpu():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3000, 64, generator=generator)
    indices, found = on_both(lambda f: nearest(f, 5)[0], features)
    assert (indices == found).float().mean() > 0.999  # near ties may swap
    clean = torch.rand(3000, generator=generator)
    torch.testing.assert_close(*on_both(mixing_weights, clean, indices))
    weights = mixing_weights(clean, indices)
    torch.testing.assert_close(*on_both(mix, features, indices, weights), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(*on_both(lambda v: fit_clean_probability(v).clean, clean))
    logits = torch.randn(3000, 10, generator=generator)
    targets = one_hot(torch.arange(3000) % 10, 10)
    torch.testing.assert_close(*on_both(losses.soft_cross_entropy, logits, targets))
    torch.testing.assert_close(
        *on_both(lambda s, p: ema_update(s, p, 0.9), targets, logits.softmax(1))
    )
    images = torch.randint(256, (64, 3, 8, 8), dtype=torch.uint8, generator=generator)
    half = torch.full((3,), 0.5)
    torch.testing.assert_close(*on_both(normalize, images, half, half))


def test_augmentation_runs_where_the_images_are():
    images = torch.randint(256, (64, 3, 8, 8), dtype=torch.uint8, device="cuda")
    out = augment(images, "crop-flip", 2, torch.Generator("cuda").manual_seed(0))
    assert (out.shape, out.device) == (images.shape, images.device)


def test_no_batch_waits_for_the_gpu():
    """A synchronization within the training pass or the evaluation would raise here."""
    data, control = blobs(400), Control()
    state = prepare_state(
        quick(device="cuda", network="resnet9-w16", weight_ema=0.9, cutout=2, jitter=0.1), data
    )
    network = state.evaluation_network()
    seen = evaluate(state, network, control, 0, correct=False)
    estimate_clean_probability(state, seen)
    partners = find_partners(state, "neighbors", [], seen)
    batches = draw_batches(state, "main")
    passed = []

    def tick(epoch, stage, batch, n_batches):
        passed.append(stage)
        if batch == 1:  # the first batch may set things up
            torch.cuda.set_sync_debug_mode("error")
        if batch == n_batches:  # what comes after the last batch may wait
            torch.cuda.set_sync_debug_mode("default")

    control.report_progress = tick
    try:
        train_epoch(state, 3, "ce", batches, partners, control)
        evaluate(state, network, control, 3, correct=True)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert passed.count("training") == len(batches) > 3


@pytest.mark.parametrize("settings", [dict(compile="default"), dict(compile="reduce-overhead")])
def test_a_compiled_step_learns_as_well(settings):
    config = quick(device="cuda", network="resnet9-w16", epochs=8)
    plain, compiled = (list(train(c, blobs())) for c in (config, config.changed(**settings)))
    np.testing.assert_allclose(plain[0].loss, compiled[0].loss, atol=0.1)
    assert compiled[-1].metrics["test_accuracy"] > 0.9


@pytest.mark.parametrize("network", ["small", "resnet9-w16"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_run_repeats_itself_and_resumes(network, precision):
    data = blobs()
    config = quick(device="cuda", network=network, precision=precision, k=3, epochs=6)
    first, second = (list(train(config, data)) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.soft, b.soft)
        np.testing.assert_array_equal(a.neighbors, b.neighbors)
    assert first[-1].metrics["test_accuracy"] > 0.9
    state = prepare_state(config, data)
    for snapshot in train(config, data, state=state):
        if snapshot.epoch == 2:
            break
    *_, last = train(config, data, state=prepare_state(config, data, state.state_dict()))
    np.testing.assert_array_equal(last.soft, first[-1].soft)


def test_the_pieces_of_an_epoch_agree_with_the_cpu():
    config = quick(network="resnet9-w16")
    rows = list(self_check(config, blobs(n=300), torch.device("cuda")))
    assert not [row for row in rows if not row["ok"]]


def test_a_run_without_determinism_learns_as_well():
    config = quick(device="cuda", network="resnet9-w16", epochs=8, deterministic=False)
    *_, last = train(config, blobs())
    assert last.metrics["test_accuracy"] > 0.9
