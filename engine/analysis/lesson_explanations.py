"""The result of each step of the lesson: its outcome, and four sentences that explain it.

Numbers and arrays in, text out. Each function answers the question of one step of
app/views/lesson/steps.py; the outcome is one of the step's options, or a percentage. Shares are in
[0, 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.analysis.label_outcomes import LabelOutcome, outcome_counts, outcomes
from engine.analysis.loss_analysis import roc_curve

MIN_DROP = 0.03  # of test accuracy below its best epoch, 11 of 360 images: less is chance
MIN_RECOVERY = 0.1  # of test accuracy after its lowest epoch, from which it "rises again"
MAX_POOR_ACCURACY = 0.5  # of a network that "stays poor"
MIN_AUROC = 0.8  # of the losses, from which wrong labels have "large" losses
MAX_GUESS_ERROR = 5  # percentage points by which a guess may be off
RUN_NAMES = {  # of step 6
    "many": "100 neighbors",
    "alpha0": "alpha 0",
    "alpha1": "alpha 1",
    "quiet": "low noise",
}
MIN_COST = 0.02  # of test accuracy, 7 of 360 images: less is chance
TIE_MARGIN = 0.01  # of test accuracy: changes that cost this much less are right answers, too


@dataclass(frozen=True)
class Explanation:
    """The outcome, four sentences that explain it, and the numbers behind both."""

    outcome: str
    sentences: tuple[str, str, str, str]
    numbers: dict[str, Any] = field(default_factory=dict)

    def is_correct(self, answer: str) -> bool:
        """Whether a student's prediction matches the outcome."""
        if self.outcome.isdigit():
            return abs(int(answer) - int(self.outcome)) <= MAX_GUESS_ERROR
        return answer == self.outcome or answer in self.numbers.get("as_good", ())


def explain_early_learning(records: Sequence[dict]) -> Explanation:
    """Step 1, plain training: does test accuracy rise, peak, dip in between, or stay poor?"""
    tests = [record["metrics"]["test_accuracy"] for record in records]
    best = int(np.argmax(tests))
    low = best + int(np.argmin(tests[best:]))
    first, last = records[best]["metrics"], records[-1]["metrics"]
    fall = tests[best] - tests[-1]
    ends = "peak" if fall >= MIN_DROP else "rise"
    dips = tests[best] - tests[low] >= MIN_DROP and tests[-1] - tests[low] >= MIN_RECOVERY
    outcome = "flat" if tests[best] < MAX_POOR_ACCURACY else "dip" if dips else ends
    memorized = percent(last["memorized"])
    third = (
        f"By the end it predicted {memorized} of the wrong labels: it had memorized them."
        if last["memorized"] - first["memorized"] > 0.2
        else f"By the end it predicted {memorized} of the wrong labels, hardly more."
    )
    fourth = {
        "peak": "Right labels are learned first and wrong ones memorized later, and MixNN uses the "
        "time between.",
        "rise": "In this run the wrong labels did little harm, so early learning is hard to see; "
        "more noise shows it more clearly.",
        "flat": "In this run so many labels were wrong that the network never learned the digits; "
        "less noise shows early learning more clearly.",
    }
    between = f"{percent(tests[low])} after epoch {records[low]['epoch']}, " if dips else ""
    return Explanation(
        outcome,
        (
            f"Test accuracy was {percent(tests[best])} after epoch {records[best]['epoch']}, the "
            f"best one, {between}and {percent(tests[-1])} after epoch {records[-1]['epoch']}.",
            f"At its best it predicted {percent(first['fit_clean'])} of the right labels, but only "
            f"{percent(first['memorized'])} of the wrong ones."
            if first["memorized"] < first["fit_clean"] / 2
            else f"At its best it predicted {percent(first['fit_clean'])} of the right labels and "
            f"{percent(first['memorized'])} of the wrong ones.",
            third,
            fourth[ends if outcome == "dip" else outcome],
        ),
        {"best": best, "fall": fall, "as_good": [ends] if outcome == "dip" else []},
    )


def explain_losses(
    loss: np.ndarray, clean: np.ndarray, wrong: np.ndarray, late_loss: np.ndarray, epoch: int
) -> Explanation:
    """Step 2: how large are the losses of wrong labels after `epoch`, and after plain training?

    loss, late_loss: (N,) cross-entropy of the given labels; clean: (N,) P(clean); wrong: (N,) bool,
    with some right and some wrong labels.
    """
    early, late = roc_curve(-loss, wrong), roc_curve(-late_loss, wrong)
    if early is None or late is None:
        raise ValueError("the losses cannot be compared: all labels are right, or all are wrong")
    early_auroc, late_auroc = early.auroc, late.auroc
    is_large, is_small = early_auroc >= MIN_AUROC, early_auroc <= 1 - MIN_AUROC
    outcome = "large" if is_large else "small" if is_small else "spread"
    flagged = clean < 0.5
    precision = float(wrong[flagged].mean()) if flagged.any() else None
    recall = float(flagged[wrong].mean())
    second = (
        "Two Gaussian components fitted to the losses flag no label here."
        if precision is None or recall is None
        else "Two Gaussian components, fitted to the losses without the true labels, flag "
        f"{percent(flagged.mean())} of the labels: {percent(precision)} of these are wrong, and "
        f"they are {percent(recall)} of all wrong ones."
    )
    if outcome == "large" and early_auroc - late_auroc > 0.02:
        fourth = (
            "So the loss separates right from wrong labels, best early: that is when MixNN starts."
        )
    elif outcome == "large":
        fourth = "So the loss separates right from wrong labels, in this run even after training."
    else:
        fourth = "So in this run the loss hardly separates right from wrong labels."
    return Explanation(
        outcome,
        (
            f"After epoch {epoch} half of the wrong labels have a loss above "
            f"{np.median(loss[wrong]):.2f}, half of the right ones above "
            f"{np.median(loss[~wrong]):.2f}.",
            second,
            "Pick a wrong and a right label at random: the wrong one has the larger loss in "
            f"{percent(early_auroc)} of such pairs here, and in {percent(late_auroc)} after plain "
            "training.",
            fourth,
        ),
        {"auroc": early_auroc, "late": late_auroc, "precision": precision, "recall": recall},
    )


def explain_neighbors(neighbors: np.ndarray, given: np.ndarray, true: np.ndarray) -> Explanation:
    """Step 3: how many neighbors of wrongly labeled samples show the same class?

    neighbors: (N, K); given, true: (N,), with some wrong labels.
    """
    wrong, k = given != true, neighbors.shape[1]
    near = neighbors[wrong]
    same = (true[near] == true[wrong, None]).sum(1)
    same_wrong_label = (given[near] == given[wrong, None]).sum(1).mean()
    right, right_all = (given == true)[near].mean(), 1 - wrong.mean()
    n_classes = int(max(given.max(), true.max())) + 1
    votes = np.stack([(given[near] == c).sum(1) for c in range(n_classes)], axis=1)
    vote_accuracy = (votes.argmax(1) == true[wrong]).mean()
    mean = same.mean()
    outcome = "most" if mean >= 0.7 * k else "half" if mean >= 0.3 * k else "few"
    versus = (
        "about as many as"
        if abs(right - right_all) < 0.05
        else ("more than" if right > right_all else "fewer than")
    )
    if vote_accuracy >= 0.75:
        fourth = "So neighbors depend on the image, not on its label, and together they outvote it."
    elif mean >= 0.7 * k:
        fourth = "So neighbors depend on the image, but too many have wrong labels themselves."
    else:
        fourth = "So in this run neighbors are weak evidence: the features are not good yet."
    return Explanation(
        outcome,
        (
            f"On average {mean:.1f} of the {k} neighbors of a wrongly labeled image show the same "
            f"digit as the image, and {same_wrong_label:.1f} have the same wrong label.",
            f"{percent(right)} of these neighbors have a right label, {versus} in the whole set "
            f"({percent(right_all)}).",
            f"A majority vote of the {k} neighbors' labels names the right digit for "
            f"{percent(vote_accuracy)} of the wrongly labeled images.",
            fourth,
        ),
        {"same": np.bincount(same, minlength=k + 1), "mean": mean, "elected": vote_accuracy},
    )


def explain_mixing(
    weights: np.ndarray,
    neighbors: np.ndarray,
    soft: np.ndarray,
    given: np.ndarray,
    true: np.ndarray,
) -> Explanation:
    """Step 4: which images get the weight, and what is the mixed label?

    weights: (N, K+1), own first; neighbors: (N, K); soft: (N, C), the labels that were mixed;
    given, true: (N,), with some wrong labels.
    """
    wrong, k = given != true, neighbors.shape[1]
    own_wrong, own_right = weights[wrong, 0].mean(), weights[~wrong, 0].mean()
    labels = mixed_labels(weights, neighbors, soft)[wrong]
    on_true = labels[np.arange(len(labels)), true[wrong]].mean()
    largest = (labels.argmax(1) == true[wrong]).mean()
    equal = 1 / (k + 1)
    outcome = "itself" if own_wrong > 0.5 else "neighbors" if own_wrong < equal / 2 else "equal"
    if largest > 0.5 and own_wrong < own_right:
        fourth = "So clean neighbors correct the wrong label, without knowing which one it was."
    else:
        fourth = "So in this run mixing corrected few of the wrong labels: P(clean) was misleading."
    return Explanation(
        outcome,
        (
            f"An image with a wrong label keeps {percent(own_wrong)} of the weight on average, one "
            f"with a right label {percent(own_right)}; equal weights would be {percent(equal)}.",
            "A wrong label gives no probability to the right digit; the mixed one gives it "
            f"{percent(on_true)} on average.",
            f"For {percent(largest)} of the wrongly labeled images the right digit now has the "
            "largest probability in the label.",
            fourth,
        ),
        {"own_wrong": own_wrong, "own_right": own_right, "on_true": on_true, "largest": largest},
    )


def explain_correction(
    records: Sequence[dict],
    plain: Sequence[dict],
    given: np.ndarray,
    corrected: np.ndarray,
    true: np.ndarray,
) -> Explanation:
    """Step 5, MixNN compared with plain training: how many labels are right in the end?

    records, plain: of the two runs. given, corrected, true: (N,) class ids.
    """
    before, after = (given == true).mean(), (corrected == true).mean()
    counts = outcome_counts(outcomes(given, true, corrected))
    n_corrected, n_harmed = counts[LabelOutcome.CORRECTED], counts[LabelOutcome.HARMED]
    test, test_plain = (r[-1]["metrics"]["test_accuracy"] for r in (records, plain))
    if after - before > 0.02 and test - test_plain > MIN_COST:
        fourth = "So the network produced better labels than it was given."
    elif after - before > 0.02:
        fourth = "So the labels got better, although in this run test accuracy did not."
    else:
        fourth = "So in this run correction did not help: try other settings."
    return Explanation(
        f"{100 * after:.0f}",
        (
            f"{percent(before)} of the labels were right as given, and {percent(after)} are right "
            f"after epoch {records[-1]['epoch']}.",
            f"Of the wrong labels {n_corrected:,} were corrected, and of the right ones "
            f"{n_harmed:,} were harmed: they are wrong now.",
            f"MixNN ends at a test accuracy of {percent(test)}, plain training on the same labels "
            f"at {percent(test_plain)}.",
            fourth,
        ),
        {"before": before, "after": after, "corrected": n_corrected, "harmed": n_harmed},
    )


def explain_failures(runs: dict[str, Sequence[dict]]) -> Explanation:
    """Step 6: which change of the settings costs the most test accuracy?

    runs: "mixnn", "many", "alpha0", "alpha1", "quiet" and "quiet_plain" -> records.
    """
    test = {name: records[-1]["metrics"]["test_accuracy"] for name, records in runs.items()}
    costs = {name: test["mixnn"] - test[name] for name in ("many", "alpha0", "alpha1")}
    costs["quiet"] = test["quiet_plain"] - test["quiet"]
    worst = max(costs, key=costs.__getitem__)
    outcome = worst if costs[worst] >= MIN_COST else "none"
    as_good = [name for name, cost in costs.items() if cost > costs[worst] - TIE_MARGIN]
    labels = {n: [r["metrics"]["label_accuracy"] for r in records] for n, records in runs.items()}
    fourth = (
        "None of the changes cost more than chance in this run: try another seed or noise rate."
        if outcome == "none"
        else f"The most costly here is {RUN_NAMES[worst]}, with "
        f"{percentage_points(costs[worst])} of test accuracy lost."
    )
    return Explanation(
        outcome,
        (
            f"With {RUN_NAMES['many']} test accuracy ends at {percent(test['many'])} instead of "
            f"{percent(test['mixnn'])}, and {percent(labels['many'][-1])} of the labels are right "
            f"instead of {percent(labels['mixnn'][-1])}.",
            f"With alpha 0 test accuracy ends at {percent(test['alpha0'])} and the labels, at best "
            f"{percent(max(labels['alpha0']))} right, end at {percent(labels['alpha0'][-1])}; with "
            f"alpha 1 test accuracy ends at {percent(test['alpha1'])}, and "
            f"{percent(labels['alpha1'][-1])} of the labels are right, as many as were given.",
            f"With hardly any noise MixNN ends at {percent(test['quiet'])} and plain training at "
            f"{percent(test['quiet_plain'])}.",
            fourth,
        ),
        {"costs": costs, "as_good": as_good if outcome != "none" else []},
    )


def mixed_labels(weights: np.ndarray, neighbors: np.ndarray, soft: np.ndarray) -> np.ndarray:
    """(N, C): the labels `soft` (N, C) of each sample and its neighbors, by weights (N, K+1)."""
    own = np.arange(len(neighbors))[:, None]
    return np.einsum("nk,nkc->nc", weights, soft[np.concatenate([own, neighbors], axis=1)])


def percent(share: float) -> str:
    """A share as text: 0.9766 -> "97.7 %"; only 1 is "100.0 %", only 0 is "0.0 %"."""
    if 0 < share < 0.0005:
        return "less than 0.1 %"
    if 0.9995 <= share < 1:
        return "more than 99.9 %"
    return f"{100 * share:.1f} %"


def percentage_points(share: float) -> str:
    """A difference of shares as text: 0.0213 -> "2.1 percentage points"."""
    return f"{100 * share:.1f} percentage points"
