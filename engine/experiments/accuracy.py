"""Experiments that are judged by what each run says of itself, epoch by epoch."""

import numpy as np
import pandas as pd

from engine.analysis.statistics import (
    against_best,
    describe_difference,
    differences,
    format_mean,
    means,
)
from engine.config import RunConfig
from engine.experiments.base import RATES, Experiment, Findings, Material, Plan, pick
from engine.noise.class_dependent import ASYMMETRIC
from engine.runs.sweep import run_name
from engine.training.state import load_data

JUDGED = ["test_accuracy", "label_accuracy", "memorized", "fit_clean"]
CURVES = [*JUDGED, "clean_auroc", "detection_auroc"]


# --- 1. What does plain cross-entropy do?


def baseline_runs(plan: Plan) -> list[RunConfig]:
    return plan.grid(method="ce", rate=[0.0, *RATES])


def read_baseline(material: Material) -> Findings:
    last, curves = material.last, means(material.epochs, ["rate", "epoch"], CURVES)
    best = material.epochs.groupby(["rate", "seed"])["test_accuracy"].max().reset_index()
    lost = differences(best, last[["rate", "seed", "test_accuracy"]], ["rate"], ["test_accuracy"])
    final = means(last, ["rate"], JUDGED)
    answers = []
    for rate in sorted(last["rate"].unique()):
        test, memorized = (pick(final, metric=m, rate=rate) for m in ("test_accuracy", "memorized"))
        text = (
            f"At rate {rate:g} the last network classifies {format_mean(test)} of the test images"
        )
        if rate > 0:
            text += (
                f" and has learned {format_mean(memorized)} of the wrong labels by heart; its best "
                f"epoch was better by {format_mean(pick(lost, rate=rate), sign=True)}"
            )
        answers.append(f"{text}.")
    return Findings({"curves": curves, "final": final, "since_best": lost}, answers)


# --- 2. Does mixing with one neighbor help by itself?


def k1_runs(plan: Plan) -> list[RunConfig]:
    return baseline_runs(plan) + plan.grid(method="mixnn-no-correction", k=1, rate=[0.0, *RATES])


def read_k1(material: Material) -> Findings:
    return _against_ce(material, ["mixnn-no-correction"], {"mixnn-no-correction": "Mixing alone"})


# --- 3. How do K and alpha matter?

KS, ALPHAS = (1, 2, 3, 5, 10, 20), (0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.99)


def full_runs(plan: Plan) -> list[RunConfig]:
    """Both at once in the full form; one at a time around the preset in the quick one."""
    preset = plan.preset()
    if plan.whole:
        return plan.grid(method="mixnn", rate=RATES, k=KS, alpha=ALPHAS)
    return _unique(
        plan.grid(method="mixnn", rate=RATES, k=KS, alpha=preset.alpha)
        + plan.grid(method="mixnn", rate=RATES, k=preset.k, alpha=ALPHAS)
    )


def read_full(material: Material) -> Findings:
    last, preset = material.last, material.plan.preset()
    cells = means(last, ["rate", "k", "alpha"], JUDGED)
    default = last[(last["k"] == preset.k) & (last["alpha"] == preset.alpha)]
    default = default[["rate", "seed", *JUDGED]]
    against = differences(last, default, ["rate", "k", "alpha"], JUDGED)
    answers = []
    for rate in sorted(last["rate"].unique()):
        part = cells[(cells["rate"] == rate) & (cells["metric"] == "test_accuracy")]
        for axis, fixed, name in (("k", "alpha", "K"), ("alpha", "k", "alpha")):
            line = part[part[fixed] == getattr(preset, fixed)]
            top, bottom = line.loc[line["mean"].idxmax()], line.loc[line["mean"].idxmin()]
            same = _as_good(last, fixed, getattr(preset, fixed), axis, rate)
            answers.append(
                f"At rate {rate:g}, {name} = {top[axis]:g} is best ({format_mean(top)}), not "
                f"significantly different from {name} = {_list(same)}; worst is {bottom[axis]:g} "
                f"({format_mean(bottom)})."
            )
    return Findings({"cells": cells, "against_preset": against}, answers)


def _as_good(last, fixed: str, value: float, axis: str, rate: float) -> list[float]:
    """Values of an axis that do not differ significantly from the best one."""
    part = last[(last["rate"] == rate) & (last[fixed] == value)]
    found = against_best(part, axis, "test_accuracy")
    return sorted(found[~found["clear"]][axis])


# --- 6. What does each part and each quirk bring?

LATE = dict(correction_start=10)  # leaves room for what the reference does before correction
PARTS: dict[str, tuple[dict, dict]] = {  # variant -> (its knobs, those it stands against)
    "no mixing (selc)": (dict(method="selc"), {}),
    "no correction": (dict(method="mixnn-no-correction"), {}),
    "neither (ce)": (dict(method="ce"), {}),
    "random partners instead of neighbors": (dict(mixing="mixup"), {}),
    "equal weights instead of P(clean)": (dict(weighting="equal"), {}),
    "no warm-up": (dict(warmup=0), {}),
    "linear loss throughout": (dict(loss="linear"), {}),
    "correction starts at 10": (LATE, {}),
}
QUIRKS: dict[str, tuple[dict, dict]] = {
    "neighbors inside the batch": (dict(neighbor_scope="batch"), {}),
    "random mixup before correction": (LATE | dict(early_mixing="mixup"), LATE),
    "linear loss before correction": (LATE | dict(early_loss="linear"), LATE),
    "first correction epoch still random": (
        LATE | dict(early_mixing="mixup", early_extra=1),
        LATE | dict(early_mixing="mixup"),
    ),
    "labels move every 10th epoch": (dict(correction_interval=10), {}),
    "labels move by the batch": (dict(correction_source="batch"), {}),
    "losses averaged over 5 epochs": (dict(loss_history=5), {}),
    "warm-up unshuffled": (dict(warmup_shuffle=False), {}),
    "warm-up unaugmented": (dict(warmup_augment=False), {}),
    "warm-up one epoch short": (dict(warmup=1), {}),
}
ABLATION_RATES = (0.4, 0.6)


def ablation_runs(plan: Plan) -> list[RunConfig]:
    return _unique([c for _, own, against in _variants(plan) for c in [*own, *against]])


def read_ablation(material: Material) -> Findings:
    against = _against_references(material)
    # the best epoch chosen on test data, a quirk of reporting and not of training
    whole = material.of(material.plan.grid(method="mixnn", rate=ABLATION_RATES))
    best = material.epochs.groupby("run")["test_accuracy"].max()
    chosen = whole.assign(test_accuracy=whole["run"].map(best))  # never worse, by construction
    found = differences(chosen, whole[["rate", "seed", "test_accuracy"]], ["rate"], JUDGED[:1])
    against = pd.concat(
        [against, found.assign(kind="quirk", variant="best epoch chosen on test")],
        ignore_index=True,
    )
    answers = [
        "Each stands against the preset, and what concerns the epochs before correction against "
        f"the preset with correction from epoch {LATE['correction_start']} on; test accuracy:"
    ]
    shown = against[against["metric"] == "test_accuracy"]
    for variant, rows in shown.groupby("variant", sort=False):
        told = [f"{format_mean(r, sign=True)} at {r['rate']:g}" for _, r in rows.iterrows()]
        answers.append(f"{variant}: {', '.join(told)} ({_agree(rows)}).")
    return Findings({"whole": means(whole, ["rate"], JUDGED), "against": against}, answers)


def _against_references(material: Material) -> pd.DataFrame:
    """Every variant against its reference; those with the same reference are tested together."""
    families: dict[frozenset[str], tuple[pd.DataFrame, list[pd.DataFrame]]] = {}
    kinds = {}
    for (kind, variant), own, against in _variants(material.plan):
        mine, other = material.of(own), material.of(against)
        if mine.empty or other.empty:
            continue
        kinds[variant] = kind
        _, variants = families.setdefault(frozenset(other["run"]), (other, []))
        variants.append(mine.assign(variant=variant))
    found = pd.concat(
        [
            differences(
                pd.concat(mine), other[["rate", "seed", *JUDGED]], ["rate", "variant"], JUDGED
            )
            for other, mine in families.values()
        ],
        ignore_index=True,
    )
    found = found.sort_values("variant", key=lambda v: v.map(list(kinds).index), kind="stable")
    return found.assign(kind=found["variant"].map(kinds)).reset_index(drop=True)


def _variants(plan: Plan):
    """(kind, name), own runs, runs they stand against; one without effect here is left out."""
    base = dict(method="mixnn", rate=ABLATION_RATES)
    for kind, table in (("part", PARTS), ("quirk", QUIRKS)):
        for name, (own, against) in table.items():
            mine, other = plan.grid(**base | own), plan.grid(**base | against)
            idle = "warmup_augment" in own and mine[0].augment == "none"
            if not idle and {run_name(c) for c in mine} != {run_name(c) for c in other}:
                yield (kind, name), mine, other


# --- 7. Which noise does MixNN help least against?

EQUAL_RATE = 0.172  # actual share of wrong labels; CIFAR-10N's random labels have 17.2 %
KIND_METHODS = ("ce", "mixnn-no-correction", "mixnn")


def kinds_runs(plan: Plan) -> list[RunConfig]:
    runs = []
    for kind, knobs in _kinds(plan).items():
        runs += plan.grid(method=KIND_METHODS, noise=kind, **knobs)
    return runs


def read_kinds(material: Material) -> Findings:
    last = material.last
    ce = last[last["method"] == "ce"]
    actual, ce = means(ce, ["noise"], ["rate_actual"]), ce[["noise", "seed", *JUDGED]]
    rest = last[last["method"] != "ce"]
    gain = differences(rest, ce, ["method", "noise"], JUDGED)
    answers = []
    for method in KIND_METHODS[1:]:
        part = gain[(gain["method"] == method) & (gain["metric"] == "test_accuracy")]
        part = part.sort_values("mean")
        told = [f"{r['noise']} {format_mean(r, sign=True)}" for _, r in part.iterrows()]
        answers.append(f"{method} against ce, from least to most: {'; '.join(told)}.")
    tables = {"final": means(last, ["method", "noise"], JUDGED), "gain": gain, "actual": actual}
    return Findings(tables, answers)


def _kinds(plan: Plan) -> dict[str, dict]:
    """Noise kinds that this data set can have -> the knobs that make EQUAL_RATE of them wrong."""
    data = load_data(plan.preset())
    family = plan.dataset.partition(":")[0]
    kinds = {
        "symmetric": dict(rate=EQUAL_RATE / (1 - 1 / data.n_classes)),
        "pair": dict(rate=EQUAL_RATE),
        "instance": dict(rate=EQUAL_RATE),
        "margin": dict(rate=EQUAL_RATE),
    }
    if family in ASYMMETRIC:  # these maps leave part of the classes as they are
        touched = np.isin(data.labels.numpy(), list(ASYMMETRIC[family])).mean()
        kinds["asymmetric"] = dict(rate=EQUAL_RATE / touched)
    if family == "cifar10":
        kinds["human"] = dict(human_labels="random1")
    return {kind: {n: _rounded(v) for n, v in knobs.items()} for kind, knobs in kinds.items()}


# --- 8. Which method is best on one network and budget?

METHODS_COMPARED = ("ce", "mixup", "gce", "sce", "elr", "selc", "mixnn")


def methods_runs(plan: Plan) -> list[RunConfig]:
    return plan.grid(method=METHODS_COMPARED, rate=RATES)


def read_methods(material: Material) -> Findings:
    last = material.last
    ours = last[last["method"] == "mixnn"][["rate", "seed", *JUDGED]]
    rest = last[last["method"] != "mixnn"]
    against = differences(rest, ours, ["method", "rate"], JUDGED)
    final = means(last, ["method", "rate"], JUDGED)
    answers = []
    for rate in sorted(last["rate"].unique()):
        test = final[(final["rate"] == rate) & (final["metric"] == "test_accuracy")]
        test = test.sort_values("mean", ascending=False)
        told = [f"{r['method']} {format_mean(r)}" for _, r in test.iterrows()]
        rows = against[(against["rate"] == rate) & (against["metric"] == "test_accuracy")]
        above = [r["method"] for _, r in rows.iterrows() if r["clear"] and r["mean"] > 0]
        equal = [r["method"] for _, r in rows.iterrows() if not r["clear"]]
        answers.append(
            f"At rate {rate:g}: {'; '.join(told)}. Above mixnn: {_list(above)}; not "
            f"significantly different from it: {_list(equal)}."
        )
    return Findings({"final": final, "against_mixnn": against}, answers)


# --- what several of them need


def _against_ce(material: Material, methods: list[str], words: dict[str, str]) -> Findings:
    last = material.last
    ce = last[last["method"] == "ce"][["rate", "seed", *JUDGED]]
    gain = differences(last[last["method"].isin(methods)], ce, ["method", "rate"], JUDGED)
    answers = []
    for _, row in gain[gain["metric"] == "test_accuracy"].iterrows():
        memorized = pick(gain, metric="memorized", method=row["method"], rate=row["rate"])
        text = f"{words[row['method']]} at rate {row['rate']:g}: test accuracy "
        text += format_mean(row, sign=True)
        text += f" against cross-entropy ({describe_difference(row, more='better', less='worse')})"
        if row["rate"] > 0:
            text += f", memorized {format_mean(memorized, sign=True)}"
        answers.append(f"{text}.")
    tables = {
        "curves": means(material.epochs, ["method", "rate", "epoch"], CURVES),
        "final": means(last, ["method", "rate"], JUDGED),
        "gain": gain,
    }
    return Findings(tables, answers)


def _unique(configs: list[RunConfig]) -> list[RunConfig]:
    return list({run_name(config): config for config in configs}.values())


def _agree(rows: pd.DataFrame) -> str:
    words = {describe_difference(row, more="better", less="worse") for _, row in rows.iterrows()}
    return words.pop() if len(words) == 1 else "differs by rate"


def _list(values) -> str:
    return ", ".join(f"{v:g}" if isinstance(v, float | int) else str(v) for v in values) or "none"


def _rounded(value):
    return round(value, 4) if isinstance(value, float) else value


EXPERIMENTS = {
    "baseline": Experiment(
        "What does plain cross-entropy do as labels get noisier?", baseline_runs, read_baseline
    ),
    "mixnn-k1": Experiment(
        "Does mixing with one neighbor help by itself, without correction?", k1_runs, read_k1
    ),
    "full": Experiment(
        "How much do K and alpha matter, and what is best at each noise rate?",
        full_runs,
        read_full,
    ),
    "ablation": Experiment(
        "What does each part of the method, and each quirk of the reference code, bring?",
        ablation_runs,
        read_ablation,
    ),
    "noise-kinds": Experiment(
        "Against which kind of noise does mixing with neighbors help least?",
        kinds_runs,
        read_kinds,
    ),
    "methods": Experiment(
        "Which method is best on the same network, data and epochs?", methods_runs, read_methods
    ),
}
