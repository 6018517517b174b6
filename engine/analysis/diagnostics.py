"""Failure signatures, recognized in the records of a run; files and pages are not known here.

The thresholds are chosen on the runs of assets/results/signs.json (bench_diagnostics.py): digits,
settings of the preset, one thing changed at a time. The usual ones show none at rates from 0.1
to 0.6, in no epoch. Every sentence states the numbers that it rests on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.config import RunConfig

FALL = 0.05  # of test accuracy below its best epoch; usual runs lose 0.017, K = 50 0.08
LABELS_FALL = 0.03  # of label accuracy below its best; usual runs 0.006, alpha = 0 loses 0.05
MANY_NEIGHBORS = 10  # K from which a fall is laid to it; K = 10 harms none of the runs, 20 some
SMALL_ALPHA = 0.5  # alpha up to which a fall is laid to it
LARGE_ALPHA = 0.97  # alpha from which labels that do not move are laid to it
MEMORIZED, MEMORIZED_MORE = 0.3, 0.2  # share of wrong labels predicted, and its rise; MixNN 0.14
MEMORY_FALL = 0.03  # of test accuracy; plain training on 4.5 % wrong labels loses 0.01
FEW_WRONG = 0.06  # share of wrong labels; at 4.5 % plain training tests as well, at 9 % worse
HARM = 0.01  # of label accuracy below what was given; on right labels usual runs lose 0.004
CHANGED = 0.005  # share of labels changed, below which correction did nothing
PATIENCE = 10  # epochs of correction at least, before that is said
FLIPPED = 0.4  # share of the old label, below which even an unsure network has had time to flip it
RECENT = 3  # epochs, the best of which speaks for now: one bad epoch is chance
LOST = 0.15  # share of the classes that are predicted no more; usual runs lose none


@dataclass(frozen=True)
class Diagnosis:
    """One failure signature: its name, the evidence with its numbers, what to try."""

    name: str
    evidence: str
    advice: str


def diagnose(
    config: RunConfig, records: Sequence[dict[str, Any]], *, rate_actual: float | None = None
) -> list[Diagnosis]:
    """The failures that the records of a run show so far, the gravest first; none for no record.

    rate_actual: share of given labels that are wrong (config.json of the run), None where it is not
    known; those that need the true labels are then left out.
    """
    if not records:
        return []
    grave = [_collapse(records), _memorization(records), _harm(records, rate_actual)]
    found = (
        *grave,
        *_decline(config, records, explained=any(grave)),
        _one_hump(config, records),
        _nothing_corrected(config, records, rate_actual),
        _few_wrong(config, rate_actual),
    )
    return [one for one in found if one is not None]


def _collapse(records: Sequence[dict]) -> Diagnosis | None:
    recent = [value for _, value in _series(records, "lost_classes")[-RECENT:]]
    if len(recent) < RECENT or min(recent) < LOST:
        return None
    lost = recent[-1]
    return Diagnosis(
        "Classes collapse",
        f"The network predicts {_percent(lost)} of the classes for no sample any more.",
        "Lower the learning rate, start the correction later, or add images of the rare classes.",
    )


def _memorization(records: Sequence[dict]) -> Diagnosis | None:
    memorized = _series(records, "memorized")
    fall, best = _fall(records, "test_accuracy")
    if not memorized or fall is None or fall < MEMORY_FALL:
        return None
    (_, least), (_, last) = min(memorized, key=lambda point: point[1]), memorized[-1]
    if last < MEMORIZED or last - least < MEMORIZED_MORE:
        return None
    return Diagnosis(
        "Memorization",
        f"The network predicts {_percent(last)} of the wrong labels, up from {_percent(least)}, "
        f"and test accuracy fell from {_percent(_at(records, 'test_accuracy', best))} at epoch "
        f"{best} to {_percent(_last(records, 'test_accuracy'))}: it learned wrong labels by heart.",
        "Take MixNN or another method that distrusts labels, begin mixing and correction earlier, "
        f"or stop at epoch {best}.",
    )


def _harm(records: Sequence[dict], rate_actual: float | None) -> Diagnosis | None:
    right = _last(records, "label_accuracy")
    if right is None or rate_actual is None or right >= 1 - rate_actual - HARM:
        return None
    return Diagnosis(
        "Correction does harm",
        f"{_percent(right)} of the labels are right now; {_percent(1 - rate_actual)} were right as "
        "given.",
        "Switch the correction off, start it later, or raise alpha: labels then move more slowly.",
    )


def _decline(config: RunConfig, records: Sequence[dict], explained: bool) -> list[Diagnosis]:
    """Results that were better before, laid to K or alpha where one of them stands at an end.

    explained: another sign says why already, so that a decline of unknown cause is not worth one.
    """
    mixes, corrects = config.mixing == "neighbors", config.correction == "ema"
    declines = _declines(records)
    if not declines or not (mixes or corrects):  # what plain training loses is memorization
        return []
    settings = records[-1]["settings"]
    k, alpha, evidence = settings["k"], settings["alpha"], " and ".join(declines) + "."
    found = []
    if mixes and k >= MANY_NEIGHBORS:
        found.append(
            Diagnosis(
                "K too large",
                f"With {k} neighbors {evidence}",
                "Take 1 to 5 neighbors: far ones belong to other classes and blur what is mixed.",
            )
        )
    if corrects and settings["correction"] == "ema" and alpha <= SMALL_ALPHA:
        found.append(Diagnosis(
            "Alpha near 0", f"With alpha {alpha:g} {evidence}",
            "Take alpha 0.8 to 0.9: then one wrong prediction does not replace a label at once.",
        ))  # fmt: skip
    if found or explained:
        return found
    return [Diagnosis(
        "It was better before", evidence[0].upper() + evidence[1:],
        "Stop near the best epoch, start the correction earlier or later, or change K and alpha.",
    )]  # fmt: skip


def _declines(records: Sequence[dict]) -> list[str]:
    """What has fallen since its best epoch, in words."""
    words = {
        "test_accuracy": ("test accuracy", FALL),
        "label_accuracy": ("labels right", LABELS_FALL),
    }
    found = []
    for name, (word, least) in words.items():
        fall, best = _fall(records, name)
        if fall is not None and fall >= least:
            found.append(
                f"{word} fell from {_percent(_at(records, name, best))} at epoch {best} to "
                f"{_percent(_last(records, name))}"
            )
    return found


def _one_hump(config: RunConfig, records: Sequence[dict]) -> Diagnosis | None:
    """Looked for while P(clean) matters most: from the first mixing until labels begin to move.

    Later one hump is a good sign: where correction has made the labels right, no second is left.
    """
    if config.mixing != "neighbors":
        return None
    first, last = config.warmup - 1, max(config.correction_start, config.warmup + 1)
    early = [record for record in records if first <= record["epoch"] <= last]
    doubtful = [record["epoch"] for record in early if record["mixture"]["warning"]]
    if len(early) < 2 or 2 * len(doubtful) <= len(early):
        return None
    return Diagnosis(
        "No two humps",
        f"In {len(doubtful)} of the {len(early)} epochs from {early[0]['epoch']} to "
        f"{early[-1]['epoch']} the losses formed one hump, so P(clean) meant little when mixing "
        "and correction began.",
        "Look at Losses; give the warm-up a few epochs more or less, or average the losses over "
        "several epochs. With hardly any wrong labels, or very many, there may be no second hump.",
    )


def _nothing_corrected(
    config: RunConfig, records: Sequence[dict], rate_actual: float | None
) -> Diagnosis | None:
    changed, settings = _last(records, "changed_labels"), records[-1]["settings"]
    if config.correction != "ema" or settings["correction"] != "ema" or changed >= CHANGED:
        return None
    if rate_actual is not None and rate_actual < 2 * CHANGED:  # there is nothing to correct
        return None
    epoch, start, alpha = records[-1]["epoch"], settings["correction_start"], settings["alpha"]
    n_epochs = epoch + 1 - start
    needed = math.log(FLIPPED) / math.log(alpha) if 0 < alpha < 1 else 0
    if n_epochs < max(PATIENCE, needed) and epoch + 1 < config.epochs:  # it may still come
        return None
    when = f"After {max(n_epochs, 0)} epochs of correction with alpha {alpha:g}"
    evidence = f"{when}, {_percent(changed)} of the labels have changed."
    if alpha >= LARGE_ALPHA:
        advice = "Take alpha 0.8 to 0.9: so near 1, labels move too slowly to reach another class."
        return Diagnosis("Alpha near 1", evidence, advice)
    advice = "Start the correction earlier, train longer, or lower alpha a little."
    if rate_actual is None:
        advice += " Or the labels were right from the start: nobody knows the truth here."
    return Diagnosis("Nothing corrected", evidence, advice)


def _few_wrong(config: RunConfig, rate_actual: float | None) -> Diagnosis | None:
    treats = config.mixing == "neighbors" or config.correction == "ema"
    if rate_actual is None or rate_actual > FEW_WRONG or not treats:
        return None
    return Diagnosis(
        "Hardly any noise",
        f"Only {_percent(rate_actual)} of the labels are wrong.",
        "Compare with plain cross-entropy: at so little noise it usually tests as well.",
    )


def _series(records: Sequence[dict], name: str) -> list[tuple[int, float]]:
    """(epoch, value) of a metric, where there was something to count."""
    points = ((record["epoch"], record["metrics"].get(name)) for record in records)
    return [(epoch, value) for epoch, value in points if value is not None]


def _last(records: Sequence[dict], name: str) -> float | None:
    return records[-1]["metrics"].get(name)


def _at(records: Sequence[dict], name: str, epoch: int) -> float:
    return dict(_series(records, name))[epoch]


def _fall(records: Sequence[dict], name: str) -> tuple[float | None, int]:
    """How far a metric lies below its best epoch, and that epoch; None where it is not counted.

    The best of the last epochs speaks for now.
    """
    points = _series(records, name)
    if not points:
        return None, -1
    best, most = max(points, key=lambda point: point[1])
    return most - max(value for _, value in points[-RECENT:]), best


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
