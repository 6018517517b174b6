"""Methods and presets: named sets of settings, which `configure` combines."""

import math
from typing import Any

# The settings that make a method, and their values where _METHODS does not name others.
METHOD_DEFAULTS: dict[str, Any] = dict(
    mixing="none",
    loss="ce",
    correction="none",
    clean_from="mixture",
    sampling="uniform",
    random_share=0.0,
    relabel_vote=True,
)
_METHODS: dict[str, dict[str, Any]] = {
    "ce": dict(),
    "mixup": dict(mixing="mixup", warmup=0),
    "mixnn": dict(mixing="neighbors", correction="ema"),
    "mixnn-plus": dict(
        mixing="neighbors",
        correction="posterior",
        relabel_threshold=0.5,
        clean_from="both",
        sampling="clean",
        random_share=0.5,
    ),
    "mixnn-no-correction": dict(mixing="neighbors"),
    "mixnn-elr": dict(mixing="neighbors", loss="elr", correction="ema"),
    "selc": dict(correction="ema"),
    "ssr": dict(
        mixing="mixup",
        mixup_beta=4.0,
        correction="relabel",
        relabel_vote=False,
        clean_from="vote",
        vote_k=200,
        sampling="selected",
        warmup=0,
    ),
    "elr": dict(loss="elr", warmup=0),
    "gce": dict(loss="gce", warmup=0),
    "sce": dict(loss="sce", warmup=0),
}
METHODS = {name: METHOD_DEFAULTS | row for name, row in _METHODS.items()}
# MixNN+ with the votes of a linear classifier, as presets of photographs have it: soft labels are
# the probabilities of all classes, and random partners by P(clean) take the place of the nearest
# (tests/benchmarks/bench_photographs.py)
PLUS_ON_PHOTOGRAPHS: dict[str, Any] = dict(
    correction="soft-posterior", sampling="uniform", random_share=1.0
)

METHOD_NOTES = {
    "ce": "plain cross-entropy: the baseline that memorizes wrong labels",
    "mixup": "mixes random pairs, with one Beta-distributed weight per batch (Zhang et al. 2018)",
    "mixnn": "mixes each sample with its nearest neighbors by P(clean), corrects labels slowly",
    "mixnn-plus": "MixNN that draws samples by P(clean), from losses and neighbors' votes, and "
    "corrects the given labels in every epoch",
    "mixnn-no-correction": "the mixing of MixNN only",
    "mixnn-elr": "MixNN with the loss of ELR, which delays memorization",
    "selc": "the label correction of MixNN only (Lu and He 2022)",
    "ssr": "neighbors' votes select samples, confident predictions relabel (Feng et al. 2022)",
    "elr": "early-learning regularization (Liu et al. 2020)",
    "gce": "generalized cross-entropy (Zhang and Sabuncu 2018)",
    "sce": "symmetric cross-entropy (Wang et al. 2019)",
}

PRESET_NAMES = ("auto", "reference", "cifar10-fast", "cifar10-best", "plain")

# Tuned on the CPU for minutes, not for records; the README says what they reach.
_SMALL_GRAY = dict(
    network="small",
    augment="none",
    epochs=30,
    warmup=2,
    correction_start=3,
    k=5,
    alpha=0.8,
    batch_size=64,
    learning_rate=0.05,
    weight_decay=5e-4,
    vote_from="neighbors",
)
_SMALL_COLOR = dict(
    network="resnet9-w16",
    augment="crop-flip",
    padding=4,
    epochs=40,
    warmup=15,
    correction_start=25,
    k=1,
    batch_size=64,
    learning_rate=0.05,
    weight_decay=5e-4,
    vote_from="linear",
)
# One layer: two of them memorized wrong labels sooner on digits, a table and generated embeddings
_FEATURES = dict(
    network="linear",
    augment="none",
    epochs=20,
    warmup=3,
    correction_start=8,
    k=5,
    alpha=0.8,
    batch_size=64,
    learning_rate=0.02,
    weight_decay=5e-4,
)
PRESETS: dict[str, dict[str, Any]] = {
    "digits": _SMALL_GRAY,
    "mnist": _SMALL_GRAY | dict(padding=2, epochs=20, batch_size=128),
    "fashion-mnist": _SMALL_GRAY | dict(padding=2, epochs=20, batch_size=128),
    "shapes": _SMALL_COLOR,
    "cifar10": _SMALL_COLOR,
    "cifar100": _SMALL_COLOR | dict(elr_beta=0.9, elr_lambda=7.0, human_labels="noisy"),
    "npz": _SMALL_COLOR,
    "folder": _SMALL_COLOR,
    "manifest": _SMALL_COLOR,
    "labelstudio": _SMALL_COLOR,
    "hf": _SMALL_COLOR,
    "features": _FEATURES,
}


# beside those of the data set, where the last block of a pretrained network is trained: it needs
# few epochs, and its states are large
FINE_TUNED: dict[str, Any] = dict(
    epochs=10,
    warmup=2,
    correction_start=5,
    k=5,
    batch_size=32,
    learning_rate=0.01,
    vote_from="neighbors",
    compile="none",
    state_interval=10,
)


def method_settings(method: str, preset: dict[str, Any]) -> dict[str, Any]:
    """The settings of a method of METHODS beside those of a preset."""
    row = METHODS[method]
    if method == "mixnn-plus" and preset.get("vote_from") == "linear":
        # the votes need no network, so that correction begins early
        return row | PLUS_ON_PHOTOGRAPHS | dict(warmup=5, correction_start=10)
    return row


def preset_settings(preset: str, dataset: str, rate: float) -> dict[str, Any]:
    """The settings of a preset of PRESET_NAMES for a data set and a noise rate."""
    family = dataset.partition(":")[0]
    if preset == "reference":
        return reference_preset(family, rate)
    if preset == "auto":
        return PRESETS.get(family, {})
    return {"cifar10-fast": FAST, "cifar10-best": BEST, "plain": {}}[preset]


def reference_preset(dataset: str, rate: float) -> dict[str, Any]:
    """The authors' settings with every quirk of their code.

    It counts epochs from 1: its warm-up of 10 epochs (30 on CIFAR-100) is one epoch short, and its
    epochs 60, 70, ..., in which labels move, are 59, 69, ... here, the lowest learning rate of each
    cycle. It averages losses over 5 epochs only at a noise rate of exactly 0.8.
    """
    return dict(
        network="resnet34",
        augment="crop-flip",
        padding=4,
        epochs=300,
        batch_size=128,
        optimizer="sgd",
        learning_rate=0.02,
        learning_rate_min=0.001,
        momentum=0.9,
        weight_decay=1e-3,
        schedule="warm-restarts",
        schedule_period=10,
        k=1,
        alpha=0.9,
        warmup=29 if dataset == "cifar100" else 9,
        correction_start=59,
        neighbor_scope="batch",
        early_mixing="mixup",
        early_loss="linear",
        early_extra=1,
        correction_interval=10,
        correction_source="batch",
        loss_history=5 if math.isclose(rate, 0.8) else 1,
        warmup_shuffle=False,
        warmup_augment=False,
        unmixed_forward=True,
        precision="float32",
        best_on="test",
        state_interval=10,
    )


# For a GPU: minutes on all of CIFAR-10; `headline --ablation` measures the effect of each setting.
# Loss, early mixing and late correction were best on a subset of it on a CPU
# (tests/benchmarks/bench_presets.py, assets/results/presets.json).
FAST = dict(
    network="resnet9",
    augment="crop-flip",
    padding=4,
    cutout=8,
    epochs=80,
    batch_size=512,
    optimizer="sgd",
    learning_rate=0.2,
    learning_rate_min=0.001,
    momentum=0.9,
    nesterov=True,
    weight_decay=5e-4,
    schedule="one-cycle",
    loss="elr",
    k=1,
    alpha=0.9,
    warmup=16,
    early_mixing="mixup",
    correction_start=64,
    align="uniform",
    weight_ema=0.99,
    flip_average="test",
    state_interval=80,
    checkpoint_every=5,
)
BEST = FAST | dict(
    network="resnet18",
    jitter=0.2,
    epochs=200,
    batch_size=256,
    learning_rate=0.1,
    warmup=40,
    correction_start=160,
    weight_ema=0.998,
    state_interval=200,
)
