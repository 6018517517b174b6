"""Failure signatures, recognized in the records of a run.

The thresholds were chosen on the runs of assets/results/signs.json (bench_diagnostics.py): digits,
settings of the preset, one setting changed at a time. The preset itself shows none of the failures
at noise rates from 0.1 to 0.6, in no epoch. Every sentence states the numbers it is based on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.config import RunConfig

# "usual" are runs with the settings of the preset
MIN_TEST_DROP = 0.05  # of test accuracy below its best epoch; usual runs lose 0.017, K = 50 0.08
MIN_LABEL_DROP = 0.03  # of label accuracy below its best; usual runs 0.006, alpha = 0 loses 0.05
LARGE_K = 10  # from which a drop is attributed to K; K = 10 harms none of the runs, 20 some
SMALL_ALPHA = 0.5  # up to which a drop is attributed to alpha
LARGE_ALPHA = 0.97  # from which labels that do not change are attributed to alpha
MIN_MEMORIZED, MIN_MEMORIZED_RISE = 0.3, 0.2  # share of wrong labels predicted; MixNN 0.14
MIN_MEMORIZATION_DROP = 0.03  # of test accuracy; plain training on 4.5 % wrong labels loses 0.01
MAX_LOW_NOISE = 0.06  # share of wrong labels; at 4.5 % plain training tests as well, at 9 % worse
MIN_HARM = 0.01  # of label accuracy below that of the given labels; without noise usual: 0.004
MIN_CHANGED = 0.005  # share of labels changed, below which correction did nothing
MIN_CORRECTION_EPOCHS = 10  # before correction is called ineffective
FLIP_WEIGHT = 0.4  # of the given label; below it even an unsure network had time to flip a label
N_RECENT = 3  # epochs; the best of them counts as the current value, since one bad epoch is chance
MIN_LOST_CLASSES = 0.15  # share of classes that are no longer predicted; usual runs lose none


@dataclass(frozen=True)
class Diagnosis:
    """One failure signature: its name, the evidence with its numbers, and what to try."""

    name: str
    evidence: str
    advice: str


def diagnose(
    config: RunConfig, records: Sequence[dict[str, Any]], *, rate_actual: float | None = None
) -> list[Diagnosis]:
    """Failures that the records of a run show so far, the most severe first; [] without a record.

    rate_actual: share of given labels that are wrong (config.json of the run), None where it is not
    known; failures that need the true labels are then left out.
    """
    if not records:
        return []
    severe = [
        _class_collapse(records),
        _memorization(records),
        _harmful_correction(records, rate_actual),
    ]
    diagnoses = (
        *severe,
        *_performance_drop(config, records, explained=any(severe)),
        _unimodal_losses(config, records),
        _ineffective_correction(config, records, rate_actual),
        _low_noise(config, rate_actual),
    )
    return [diagnosis for diagnosis in diagnoses if diagnosis is not None]


def _class_collapse(records: Sequence[dict]) -> Diagnosis | None:
    recent = [value for _, value in _series(records, "lost_classes")[-N_RECENT:]]
    if len(recent) < N_RECENT or min(recent) < MIN_LOST_CLASSES:
        return None
    lost = recent[-1]
    return Diagnosis(
        "Classes collapse",
        f"The network no longer predicts {_percent(lost)} of the classes for any sample.",
        "Lower the learning rate, start the correction later, or add images of the rare classes.",
    )


def _memorization(records: Sequence[dict]) -> Diagnosis | None:
    memorized = _series(records, "memorized")
    drop, best = _drop_from_best(records, "test_accuracy")
    if not memorized or drop is None or drop < MIN_MEMORIZATION_DROP:
        return None
    (_, least), (_, last) = min(memorized, key=lambda point: point[1]), memorized[-1]
    if last < MIN_MEMORIZED or last - least < MIN_MEMORIZED_RISE:
        return None
    return Diagnosis(
        "Memorization",
        f"The network predicts {_percent(last)} of the wrong labels, up from {_percent(least)}, "
        f"and test accuracy fell from {_percent(_at(records, 'test_accuracy', best))} at epoch "
        f"{best} to {_percent(_last(records, 'test_accuracy'))}: it memorized wrong labels.",
        "Use MixNN or another robust method, start mixing and correction earlier, or stop at "
        f"epoch {best}.",
    )


def _harmful_correction(records: Sequence[dict], rate_actual: float | None) -> Diagnosis | None:
    right = _last(records, "label_accuracy")
    if right is None or rate_actual is None or right >= 1 - rate_actual - MIN_HARM:
        return None
    return Diagnosis(
        "Correction does harm",
        f"{_percent(right)} of the labels are right now; {_percent(1 - rate_actual)} of the given "
        "labels were.",
        "Switch correction off, start it later, or raise alpha: labels then change more slowly.",
    )


def _performance_drop(
    config: RunConfig, records: Sequence[dict], explained: bool
) -> list[Diagnosis]:
    """Results that were better before, attributed to K or alpha where one of them is extreme.

    explained: another diagnosis explains the drop, so that one of unknown cause is not reported.
    """
    mixes, corrects = config.mixing == "neighbors", config.correction != "none"
    drops = _drops(records)
    if not drops or not (mixes or corrects):  # what plain training loses is memorization
        return []
    settings = records[-1]["settings"]
    k, alpha, evidence = settings["k"], settings["alpha"], " and ".join(drops) + "."
    diagnoses = []
    if mixes and k >= LARGE_K:
        diagnoses.append(
            Diagnosis(
                "K too large",
                f"With {k} neighbors {evidence}",
                "Use 1 to 5 neighbors: distant ones belong to other classes and blur the mixture.",
            )
        )
    if corrects and settings["correction"] == "ema" and alpha <= SMALL_ALPHA:
        diagnoses.append(
            Diagnosis(
                "Alpha near 0",
                f"With alpha {alpha:g} {evidence}",
                "Use alpha 0.8 to 0.9: then a single wrong prediction does not replace a label.",
            )
        )
    if diagnoses or explained:
        return diagnoses
    return [
        Diagnosis(
            "Past its best epoch",
            evidence[0].upper() + evidence[1:],
            "Stop near the best epoch, start correction earlier or later, or change K and alpha.",
        )
    ]


def _drops(records: Sequence[dict]) -> list[str]:
    """Metrics that have dropped since their best epoch, in words."""
    metrics = {
        "test_accuracy": ("test accuracy", MIN_TEST_DROP),
        "label_accuracy": ("label accuracy", MIN_LABEL_DROP),
    }
    drops = []
    for name, (title, threshold) in metrics.items():
        drop, best = _drop_from_best(records, name)
        if drop is not None and drop >= threshold:
            drops.append(
                f"{title} fell from {_percent(_at(records, name, best))} at epoch {best} to "
                f"{_percent(_last(records, name))}"
            )
    return drops


def _unimodal_losses(config: RunConfig, records: Sequence[dict]) -> Diagnosis | None:
    """Checked while P(clean) matters most: from the first mixing until labels begin to change.

    Later unimodal losses are good news: once correction has made the labels right, no second mode
    is left.
    """
    if config.mixing != "neighbors":
        return None
    first, last = config.warmup - 1, max(config.correction_start, config.warmup + 1)
    early = [record for record in records if first <= record["epoch"] <= last]
    unimodal = [record["epoch"] for record in early if record["mixture"]["warning"]]
    if len(early) < 2 or 2 * len(unimodal) <= len(early):
        return None
    return Diagnosis(
        "Losses not bimodal",
        f"In {len(unimodal)} of the {len(early)} epochs from {early[0]['epoch']} to "
        f"{early[-1]['epoch']} the losses were unimodal, so P(clean) meant little when mixing and "
        "correction began.",
        "See Losses; make the warm-up a few epochs longer or shorter, or average the losses over "
        "several epochs. With hardly any wrong labels, or very many, there may be no second mode.",
    )


def _ineffective_correction(
    config: RunConfig, records: Sequence[dict], rate_actual: float | None
) -> Diagnosis | None:
    changed, settings = _last(records, "changed_labels"), records[-1]["settings"]
    if config.correction != "ema" or settings["correction"] != "ema":
        return None
    if changed is None or changed >= MIN_CHANGED:
        return None
    if rate_actual is not None and rate_actual < 2 * MIN_CHANGED:  # there is nothing to correct
        return None
    epoch, start, alpha = records[-1]["epoch"], settings["correction_start"], settings["alpha"]
    n_epochs = epoch + 1 - start
    needed = math.log(FLIP_WEIGHT) / math.log(alpha) if 0 < alpha < 1 else 0
    if n_epochs < max(MIN_CORRECTION_EPOCHS, needed) and epoch + 1 < config.epochs:
        return None  # labels may still change
    when = f"After {max(n_epochs, 0)} epochs of correction with alpha {alpha:g}"
    evidence = f"{when}, {_percent(changed)} of the labels have changed."
    if alpha >= LARGE_ALPHA:
        advice = "Use alpha 0.8 to 0.9: this close to 1, labels change too slowly."
        return Diagnosis("Alpha near 1", evidence, advice)
    advice = "Start the correction earlier, train longer, or lower alpha a little."
    if rate_actual is None:
        advice += " Or the labels were right from the start: the true labels are not known."
    return Diagnosis("Nothing corrected", evidence, advice)


def _low_noise(config: RunConfig, rate_actual: float | None) -> Diagnosis | None:
    mixes_or_corrects = config.mixing == "neighbors" or config.correction != "none"
    if rate_actual is None or rate_actual > MAX_LOW_NOISE or not mixes_or_corrects:
        return None
    return Diagnosis(
        "Hardly any noise",
        f"Only {_percent(rate_actual)} of the labels are wrong.",
        "Compare with plain cross-entropy: with so little noise it is usually as accurate.",
    )


def _series(records: Sequence[dict], name: str) -> list[tuple[int, float]]:
    """(epoch, value) of a metric, for the epochs that have a value."""
    points = ((record["epoch"], record["metrics"].get(name)) for record in records)
    return [(epoch, value) for epoch, value in points if value is not None]


def _last(records: Sequence[dict], name: str) -> float | None:
    """The newest value of a metric; None without one."""
    points = _series(records, name)
    return points[-1][1] if points else None


def _at(records: Sequence[dict], name: str, epoch: int) -> float:
    return dict(_series(records, name))[epoch]


def _drop_from_best(records: Sequence[dict], name: str) -> tuple[float | None, int]:
    """How far a metric is below its best epoch, and that epoch; None, -1 without a value.

    The best of the last N_RECENT epochs counts as the current value.
    """
    points = _series(records, name)
    if not points:
        return None, -1
    best, most = max(points, key=lambda point: point[1])
    return most - max(value for _, value in points[-N_RECENT:]), best


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.1f} %"
