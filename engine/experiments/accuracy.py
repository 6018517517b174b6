"""Experiments on the metrics that each run records, epoch by epoch."""

import contextlib
from typing import Any

import pandas as pd

from engine.analysis.statistics import (
    against_best,
    describe_difference,
    differences,
    format_mean,
    means,
)
from engine.config import RunConfig
from engine.data import load_data
from engine.data.human import SETS_OF
from engine.errors import NoiseError
from engine.experiments.base import RATES, Experiment, Findings, Plan, Results, pick
from engine.runs.naming import run_name
from engine.training.noisy_labels import make_noisy_labels

METRICS = ["test_accuracy", "label_accuracy", "memorized", "fit_clean"]
CURVES = [*METRICS, "clean_auroc", "detection_auroc"]


# --- 1. What does plain cross-entropy do?


def baseline_configs(plan: Plan) -> list[RunConfig]:
    """Plain cross-entropy at every rate."""
    return plan.grid(method="ce", rate=[0.0, *RATES])


def evaluate_baseline(results: Results) -> Findings:
    """Final accuracy, memorization, and the loss since the best epoch."""
    last, curves = results.last, means(results.epochs, ["rate", "epoch"], CURVES)
    best = results.epochs.groupby(["rate", "seed"])["test_accuracy"].max().reset_index()
    lost = differences(best, last[["rate", "seed", "test_accuracy"]], ["rate"], ["test_accuracy"])
    final = means(last, ["rate"], METRICS)
    answers = []
    for rate in sorted(last["rate"].unique()):
        test, memorized = (pick(final, metric=m, rate=rate) for m in ("test_accuracy", "memorized"))
        text = (
            f"At rate {rate:g} the last network classifies {format_mean(test)} of the test images"
        )
        if rate > 0:
            text += (
                f" and has memorized {format_mean(memorized)} of the wrong labels; its best epoch "
                f"was better by {format_mean(pick(lost, rate=rate), sign=True)}"
            )
        answers.append(f"{text}.")
    return Findings({"curves": curves, "final": final, "since_best": lost}, answers)


# --- 2. Does mixing with one neighbor help by itself?


def k1_configs(plan: Plan) -> list[RunConfig]:
    """Cross-entropy, and mixing with one neighbor without correction, at every rate."""
    return baseline_configs(plan) + plan.grid(method="mixnn-no-correction", k=1, rate=[0.0, *RATES])


def evaluate_k1(results: Results) -> Findings:
    """Mixing alone against cross-entropy."""
    return _against_ce(results, ["mixnn-no-correction"], {"mixnn-no-correction": "Mixing alone"})


# --- 3. How do K and alpha matter?

KS, ALPHAS = (1, 2, 3, 5, 10, 20), (0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.99)


def full_configs(plan: Plan) -> list[RunConfig]:
    """Both at once in the full form; one at a time around the preset in the quick one."""
    preset = plan.preset()
    if plan.is_full:
        return plan.grid(method="mixnn", rate=RATES, k=KS, alpha=ALPHAS)
    return _unique(
        plan.grid(method="mixnn", rate=RATES, k=KS, alpha=preset.alpha)
        + plan.grid(method="mixnn", rate=RATES, k=preset.k, alpha=ALPHAS)
    )


def evaluate_full(results: Results) -> Findings:
    """Every K and alpha against the preset, and which do not differ from the best."""
    last, preset = results.last, results.plan.preset()
    cells = means(last, ["rate", "k", "alpha"], METRICS)
    default = last[(last["k"] == preset.k) & (last["alpha"] == preset.alpha)]
    default = default[["rate", "seed", *METRICS]]
    against = differences(last, default, ["rate", "k", "alpha"], METRICS)
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
    others = against_best(part, axis, "test_accuracy")
    return sorted(others[~others["clear"]][axis])


# --- 6. What does each part and each quirk contribute?

LATE = dict(correction_start=10)  # leaves room for what the reference does before correction
PARTS: dict[str, tuple[dict, dict]] = {  # variant -> (its settings, those of its reference)
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
    "batch statistics of unmixed images too": (dict(unmixed_forward=True), {}),
}
ABLATION_RATES = (0.4, 0.6)


def ablation_configs(plan: Plan) -> list[RunConfig]:
    """Every variant and its reference."""
    return _unique([c for _, own, against in _variants(plan) for c in [*own, *against]])


def evaluate_ablation(results: Results) -> Findings:
    """Every variant against its reference, and the effect of choosing the epoch on test data."""
    against = _against_references(results)
    # the best epoch chosen on test data, a quirk of reporting and not of training
    mixnn = results.of(results.plan.grid(method="mixnn", rate=ABLATION_RATES))
    best = results.epochs.groupby("run")["test_accuracy"].max()
    chosen = mixnn.assign(test_accuracy=mixnn["run"].map(best))  # never worse, by construction
    gain = differences(chosen, mixnn[["rate", "seed", "test_accuracy"]], ["rate"], METRICS[:1])
    against = pd.concat(
        [against, gain.assign(kind="quirk", variant="best epoch chosen on test")],
        ignore_index=True,
    )
    answers = [
        "Each variant is compared with the preset, and a variant of the epochs before correction "
        f"with the preset with correction from epoch {LATE['correction_start']} on; test accuracy:"
    ]
    shown = against[against["metric"] == "test_accuracy"]
    for variant, rows in shown.groupby("variant", sort=False):
        effects = [f"{format_mean(r, sign=True)} at {r['rate']:g}" for _, r in rows.iterrows()]
        answers.append(f"{variant}: {', '.join(effects)} ({_agree(rows)}).")
    return Findings({"whole": means(mixnn, ["rate"], METRICS), "against": against}, answers)


def _against_references(results: Results) -> pd.DataFrame:
    """Every variant against its reference; those with the same reference are tested together."""
    families: dict[frozenset[str], tuple[pd.DataFrame, list[pd.DataFrame]]] = {}
    kinds = {}
    for (kind, variant), own, against in _variants(results.plan):
        mine, other = results.of(own), results.of(against)
        if mine.empty or other.empty:
            continue
        kinds[variant] = kind
        _, variants = families.setdefault(frozenset(other["run"]), (other, []))
        variants.append(mine.assign(variant=variant))
    rows = pd.concat(
        [
            differences(
                pd.concat(mine), other[["rate", "seed", *METRICS]], ["rate", "variant"], METRICS
            )
            for other, mine in families.values()
        ],
        ignore_index=True,
    )
    rows = rows.sort_values("variant", key=lambda v: v.map(list(kinds).index), kind="stable")
    return rows.assign(kind=rows["variant"].map(kinds)).reset_index(drop=True)


def _variants(plan: Plan):
    """(kind, name), own runs, runs of the reference; variants without effect are left out."""
    base = dict(method="mixnn", rate=ABLATION_RATES)
    for kind, table in (("part", PARTS), ("quirk", QUIRKS)):
        for name, (own, against) in table.items():
            mine, other = plan.grid(**base | own), plan.grid(**base | against)
            idle = "warmup_augment" in own and mine[0].augment == "none"
            if not idle and {run_name(c) for c in mine} != {run_name(c) for c in other}:
                yield (kind, name), mine, other


# --- 7. Which noise does MixNN help least against?

EQUAL_RATE = 0.172  # share of wrong labels, as in CIFAR-10N's random labels (17.2 %)
KIND_METHODS = ("ce", "mixnn-no-correction", "mixnn")
PHOTO_METHODS = ("ce", "mixnn", "mixnn-plus")  # of CIFAR-10 and CIFAR-100


def kinds_configs(plan: Plan) -> list[RunConfig]:
    """Three methods under every kind of noise."""
    methods = PHOTO_METHODS if plan.family in SETS_OF else KIND_METHODS
    return [c for own in _kinds(plan).values() for c in plan.grid(method=methods, **own)]


def evaluate_kinds(results: Results) -> Findings:
    """Gain over cross-entropy for each kind of noise."""
    last = results.last
    named = last["noise"].where(last["noise"] != "human", "human " + last["human_labels"])
    last = last.assign(noise=named)
    ce = last[last["method"] == "ce"]
    actual, ce = means(ce, ["noise"], ["rate_actual"]), ce[["noise", "seed", *METRICS]]
    rest = last[last["method"] != "ce"]
    gain = differences(rest, ce, ["method", "noise"], METRICS)
    answers = []
    for method in dict.fromkeys(rest["method"]):
        part = gain[(gain["method"] == method) & (gain["metric"] == "test_accuracy")]
        part = part.sort_values("mean")
        gains = [f"{r['noise']} {format_mean(r, sign=True)}" for _, r in part.iterrows()]
        answers.append(f"{method} against ce, from least to most: {'; '.join(gains)}.")
    tables = {"final": means(last, ["method", "noise"], METRICS), "gain": gain, "actual": actual}
    return Findings(tables, answers)


def _kinds(plan: Plan) -> dict[str, dict[str, Any]]:
    """Kinds of noise possible on this data set -> settings that make EQUAL_RATE of labels wrong.

    Human labels are as they are: 9 % wrong in aggre, 17 % in random1, 40 % in worse.
    """
    data = load_data(plan.preset())
    rates = dict.fromkeys(("symmetric", "pair", "instance", "margin"), EQUAL_RATE)
    rates["symmetric"] /= 1 - 1 / data.n_classes
    with contextlib.suppress(NoiseError):  # a data set without a map of classes
        # the map changes only some classes, all of their labels at rate 1
        labels = make_noisy_labels(plan.preset().varied(noise="asymmetric", rate=1.0), data)
        rates["asymmetric"] = EQUAL_RATE / (labels.rate_actual or 1)
    people = [name for name in SETS_OF.get(plan.family, ()) if name not in ("random2", "random3")]
    return {kind: dict(noise=kind, rate=round(float(rate), 4)) for kind, rate in rates.items()} | {
        f"human {name}": dict(noise="human", human_labels=name) for name in people
    }


# --- 8. Which method is best on one network and budget?

METHODS_COMPARED = ("ce", "mixup", "gce", "sce", "elr", "selc", "ssr", "mixnn-plus", "mixnn")


def methods_configs(plan: Plan) -> list[RunConfig]:
    """Every method at every rate."""
    return plan.grid(method=METHODS_COMPARED, rate=RATES)


def evaluate_methods(results: Results) -> Findings:
    """Every method against MixNN."""
    last = results.last
    ours = last[last["method"] == "mixnn"][["rate", "seed", *METRICS]]
    rest = last[last["method"] != "mixnn"]
    against = differences(rest, ours, ["method", "rate"], METRICS)
    final = means(last, ["method", "rate"], METRICS)
    answers = []
    for rate in sorted(last["rate"].unique()):
        test = final[(final["rate"] == rate) & (final["metric"] == "test_accuracy")]
        test = test.sort_values("mean", ascending=False)
        ranking = [f"{r['method']} {format_mean(r)}" for _, r in test.iterrows()]
        rows = against[(against["rate"] == rate) & (against["metric"] == "test_accuracy")]
        above = [r["method"] for _, r in rows.iterrows() if r["clear"] and r["mean"] > 0]
        equal = [r["method"] for _, r in rows.iterrows() if not r["clear"]]
        answers.append(
            f"At rate {rate:g}: {'; '.join(ranking)}. Above mixnn: {_list(above)}; not "
            f"significantly different from it: {_list(equal)}."
        )
    return Findings({"final": final, "against_mixnn": against}, answers)


# --- shared by several of them


def _against_ce(results: Results, methods: list[str], words: dict[str, str]) -> Findings:
    last = results.last
    ce = last[last["method"] == "ce"][["rate", "seed", *METRICS]]
    gain = differences(last[last["method"].isin(methods)], ce, ["method", "rate"], METRICS)
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
        "curves": means(results.epochs, ["method", "rate", "epoch"], CURVES),
        "final": means(last, ["method", "rate"], METRICS),
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


EXPERIMENTS = {
    "baseline": Experiment(baseline_configs, evaluate_baseline),
    "mixnn-k1": Experiment(k1_configs, evaluate_k1),
    "full": Experiment(full_configs, evaluate_full),
    "ablation": Experiment(ablation_configs, evaluate_ablation),
    "noise-kinds": Experiment(kinds_configs, evaluate_kinds),
    "methods": Experiment(methods_configs, evaluate_methods),
}
