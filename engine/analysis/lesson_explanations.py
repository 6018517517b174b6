"""What the runs of a lesson's step showed: the outcome, and four sentences that depend on it.

Numbers and arrays in, words out. Each function answers the question of one step of lessons.py; the
outcome is one of the step's options, or a percentage. Shares are in [0, 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.analysis.label_outcomes import LabelOutcome, counts, outcomes
from engine.metrics import auroc, mean_true

FALLS = 0.03  # of test accuracy from its best epoch, from which on it has fallen: 11 of 360 images
POOR = 0.5  # test accuracy that was never reached by a network that stays poor
APART = 0.8  # share of pairs in which the wrong label has the larger loss
CLOSE = 5  # percentage points by which a guess may be off
CHANGES = {  # of step 6, in words
    "many": "100 neighbors",
    "alpha0": "alpha 0",
    "alpha1": "alpha 1",
    "quiet": "low noise",
}
COSTS = 0.02  # test accuracy, 7 of 360 images: less is chance
TIE = 0.01


@dataclass(frozen=True)
class Finding:
    """The outcome, the explanation, and the numbers behind both."""

    outcome: str
    sentences: tuple[str, str, str, str]
    numbers: dict[str, Any] = field(default_factory=dict)

    def hit(self, answer: str) -> bool:
        """Whether a prediction came true."""
        if self.outcome.isdigit():
            return abs(int(answer) - int(self.outcome)) <= CLOSE
        return answer == self.outcome or answer in self.numbers.get("as_good", ())


def early(records: Sequence[dict]) -> Finding:
    """Step 1, of plain training: does test accuracy rise, peak, or stay poor?"""
    tests = [record["metrics"]["test_accuracy"] for record in records]
    best = int(np.argmax(tests))
    first, last = records[best]["metrics"], records[-1]["metrics"]
    fall = tests[best] - tests[-1]
    outcome = "flat" if tests[best] < POOR else "peak" if fall >= FALLS else "rise"
    by_heart = last["memorized"] - first["memorized"] > 0.2
    third = (
        f"By the end it predicted {pc(last['memorized'])} of the wrong labels: it had learned them "
        "by heart."
        if by_heart
        else f"By the end it predicted {pc(last['memorized'])} of the wrong labels, hardly more."
    )
    fourth = {
        "peak": "The right labels came first and the wrong ones later, and MixNN uses the time "
        "between.",
        "rise": "In this run the wrong labels did little harm to the test, so early learning left "
        "a weak trace; more noise shows it more clearly.",
        "flat": "In this run so many labels were wrong that the network never learned the digits; "
        "less noise shows early learning more clearly.",
    }
    return Finding(
        outcome,
        (
            f"The network got {pc(tests[best])} of the test right after epoch "
            f"{records[best]['epoch']}, its best, and {pc(tests[-1])} after epoch "
            f"{records[-1]['epoch']}.",
            f"At its best it predicted {pc(first['fit_clean'])} of the right labels, but only "
            f"{pc(first['memorized'])} of the wrong ones."
            if first["memorized"] < first["fit_clean"] / 2
            else f"At its best it predicted {pc(first['fit_clean'])} of the right labels and "
            f"{pc(first['memorized'])} of the wrong ones.",
            third,
            fourth[outcome],
        ),
        {"best": best, "fall": fall},
    )


def humps(
    loss: np.ndarray, clean: np.ndarray, wrong: np.ndarray, late_loss: np.ndarray, epoch: int
) -> Finding:
    """Step 2: where do the losses of wrong labels lie after `epoch`, and after plain training?

    loss, late_loss: (N,) cross-entropy of the given labels; clean: (N,) P(clean); wrong: (N,) bool.
    """
    apart, late = auroc(loss, wrong), auroc(late_loss, wrong)
    outcome = "large" if apart >= APART else "small" if apart <= 1 - APART else "spread"
    called = clean < 0.5
    precision, recall = mean_true(wrong[called]), mean_true(called[wrong])
    second = (
        "Two bell curves fitted to the losses call no label wrong here."
        if precision is None
        else "Two bell curves, fitted to the losses without the truth, call "
        f"{pc(called.mean())} of the labels wrong: {pc(precision)} of these are wrong, and they "
        f"are {pc(recall)} of all wrong ones."
    )
    if outcome == "large" and apart - late > 0.02:
        fourth = "So the loss tells clean from wrong, but best early: MixNN looks in time."
    elif outcome == "large":
        fourth = "So the loss tells clean from wrong, and in this run plain training kept it so."
    else:
        fourth = "So in this run the loss tells clean from wrong badly: MixNN starts half blind."
    return Finding(
        outcome,
        (
            f"After epoch {epoch} half of the wrong labels have a loss above "
            f"{np.median(loss[wrong]):.2f}, half of the right ones above "
            f"{np.median(loss[~wrong]):.2f}.",
            second,
            "Draw a wrong and a right label: the wrong one has the larger loss in "
            f"{pc(apart)} of such pairs here, and in {pc(late)} once plain training is over.",
            fourth,
        ),
        {"apart": apart, "late": late, "precision": precision, "recall": recall},
    )


def neighborhood(neighbors: np.ndarray, given: np.ndarray, true: np.ndarray) -> Finding:
    """Step 3: of wrongly labeled samples, how many neighbors (N, K) show the same class?"""
    wrong, k = given != true, neighbors.shape[1]
    around = neighbors[wrong]
    same = (true[around] == true[wrong, None]).sum(1)
    fooled = (given[around] == given[wrong, None]).sum(1).mean()
    right, right_all = (given == true)[around].mean(), 1 - wrong.mean()
    n_classes = int(max(given.max(), true.max())) + 1
    votes = np.stack([(given[around] == c).sum(1) for c in range(n_classes)], axis=1)
    elected = mean_true(votes.argmax(1) == true[wrong])
    mean = same.mean()
    outcome = "most" if mean >= 0.7 * k else "half" if mean >= 0.3 * k else "few"
    versus = (
        "about as many as"
        if abs(right - right_all) < 0.05
        else ("more than" if right > right_all else "fewer than")
    )
    if elected >= 0.75:
        fourth = "So neighbors follow the image and not its label, and together they outvote it."
    elif mean >= 0.7 * k:
        fourth = "So neighbors follow the image, but too many have wrong labels themselves."
    else:
        fourth = "So in this run neighbors are weak witnesses: the features are not good yet."
    return Finding(
        outcome,
        (
            f"On average {mean:.1f} of the {k} neighbors of a wrongly labeled image show the same "
            f"digit as the image, and {fooled:.1f} carry the same wrong label.",
            f"{pc(right)} of these neighbors have a right label, {versus} in the whole set "
            f"({pc(right_all)}).",
            f"A vote of the {k} neighbors' labels names the right digit for {pc(elected)} of the "
            "wrongly labeled images.",
            fourth,
        ),
        {"same": np.bincount(same, minlength=k + 1), "mean": mean, "elected": elected},
    )


def mixture(
    weights: np.ndarray,
    neighbors: np.ndarray,
    soft: np.ndarray,
    given: np.ndarray,
    true: np.ndarray,
) -> Finding:
    """Step 4: who gets the weight, and what becomes of the label?

    weights: (N, K+1), own first; neighbors: (N, K); soft: (N, C) labels that were mixed.
    """
    wrong, k = given != true, neighbors.shape[1]
    own_wrong, own_right = weights[wrong, 0].mean(), weights[~wrong, 0].mean()
    labels = mixed_labels(weights, neighbors, soft)[wrong]
    on_true = labels[np.arange(len(labels)), true[wrong]].mean()
    largest = mean_true(labels.argmax(1) == true[wrong])
    equal = 1 / (k + 1)
    outcome = "itself" if own_wrong > 0.5 else "neighbors" if own_wrong < equal / 2 else "equal"
    if largest > 0.5 and own_wrong < own_right:
        fourth = "So clean neighbors rewrite the wrong label, and nobody had to know which it was."
    else:
        fourth = "So in this run mixing rewrote few of the wrong labels: P(clean) misled it."
    return Finding(
        outcome,
        (
            f"An image with a wrong label keeps {pc(own_wrong)} of the weight on average, one with "
            f"a right label {pc(own_right)}; alike for all would be {pc(equal)}.",
            f"A wrong label gives nothing to the right digit; the mixed one gives it {pc(on_true)} "
            "on average.",
            f"For {pc(largest)} of the wrongly labeled images the right digit now has the largest "
            "part of the label.",
            fourth,
        ),
        {"own_wrong": own_wrong, "own_right": own_right, "on_true": on_true, "largest": largest},
    )


def correction(
    records: Sequence[dict],
    plain: Sequence[dict],
    given: np.ndarray,
    corrected: np.ndarray,
    true: np.ndarray,
) -> Finding:
    """Step 5, of MixNN beside plain training: how many labels are right in the end?"""
    before, after = (given == true).mean(), (corrected == true).mean()
    found = counts(outcomes(given, true, corrected))
    n_corrected, n_harmed = found[LabelOutcome.CORRECTED], found[LabelOutcome.HARMED]
    test, test_plain = (r[-1]["metrics"]["test_accuracy"] for r in (records, plain))
    if after - before > 0.02 and test - test_plain > COSTS:
        fourth = "So the network made itself better labels than it was given."
    elif after - before > 0.02:
        fourth = "So the labels got better, although in this run the test did not gain by it."
    else:
        fourth = "So in this run the correction brought nothing, and its settings deserve a look."
    return Finding(
        f"{100 * after:.0f}",
        (
            f"{pc(before)} of the labels were right as given, and {pc(after)} are right after "
            f"epoch {records[-1]['epoch']}.",
            f"Of the wrong labels {n_corrected:,} were corrected, and of the right ones "
            f"{n_harmed:,} were harmed: they are wrong now.",
            f"On the test MixNN ends at {pc(test)}, plain training on the same labels at "
            f"{pc(test_plain)}.",
            fourth,
        ),
        {"before": before, "after": after, "corrected": n_corrected, "harmed": n_harmed},
    )


def failures(runs: dict[str, Sequence[dict]]) -> Finding:
    """Step 6: records of each run of the step -> which change costs the most test accuracy?"""
    test = {name: records[-1]["metrics"]["test_accuracy"] for name, records in runs.items()}
    costs = {name: test["mixnn"] - test[name] for name in ("many", "alpha0", "alpha1")}
    costs["quiet"] = test["quiet_plain"] - test["quiet"]
    worst = max(costs, key=costs.__getitem__)
    outcome = worst if costs[worst] >= COSTS else "none"
    as_good = [name for name, cost in costs.items() if cost > costs[worst] - TIE]
    labels = {n: [r["metrics"]["label_accuracy"] for r in records] for n, records in runs.items()}
    fourth = (
        "None of the changes cost more than chance in this run: try another seed or noise rate."
        if outcome == "none"
        else f"The most costly here is {CHANGES[worst]}, with {points(costs[worst])} of test "
        "accuracy lost, and the signs below the bars name what a run shows by itself."
    )
    return Finding(
        outcome,
        (
            f"With {CHANGES['many']} the test ends at {pc(test['many'])} instead of "
            f"{pc(test['mixnn'])}, and {pc(labels['many'][-1])} of the labels are right instead of "
            f"{pc(labels['mixnn'][-1])}.",
            f"With alpha 0 the test ends at {pc(test['alpha0'])} and the labels, at best "
            f"{pc(max(labels['alpha0']))} right, end at {pc(labels['alpha0'][-1])}; with alpha 1 "
            f"the test ends at {pc(test['alpha1'])}, and {pc(labels['alpha1'][-1])} of the labels "
            "are right, as many as were given.",
            f"With hardly any noise MixNN ends at {pc(test['quiet'])} and plain training at "
            f"{pc(test['quiet_plain'])}.",
            fourth,
        ),
        {"costs": costs, "as_good": as_good if outcome != "none" else []},
    )


def mixed_labels(weights: np.ndarray, neighbors: np.ndarray, soft: np.ndarray) -> np.ndarray:
    """(N, C): each sample's label averaged with its neighbors' by weights (N, K+1)."""
    own = np.arange(len(neighbors))[:, None]
    return np.einsum("nk,nkc->nc", weights, soft[np.concatenate([own, neighbors], axis=1)])


def pc(share: float) -> str:
    """0.9766 -> "97.7 %"; only all is 100 %, only none is 0 %."""
    if 0 < share < 0.0005:
        return "less than 0.1 %"
    if 0.9995 <= share < 1:
        return "more than 99.9 %"
    return f"{100 * share:.1f} %"


def points(share: float) -> str:
    return f"{100 * share:.1f} percentage points"
