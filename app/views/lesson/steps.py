"""The lesson as data: six steps, each a scene, a question to predict, and the runs that answer it.

The outcomes of the runs, and the sentences that explain them:
engine/analysis/lesson_explanations.py.
"""

from dataclasses import dataclass, field

from app.server.class_answers import CODE_WORDS, class_code
from app.state.parameters import Param, between, choice, one_number
from engine.config import RunConfig, configure

RATES = (0.2, 0.4, 0.6)
RATE, LOW_RATE = 0.4, 0.05
SEEDS = range(5)
K, LARGE_K = 5, 100
PERCENT = "percent"  # a question that is answered by a slider from 0 to 100

PARAMS = {  # of the URL
    "lesson": Param(1, between(1, 6), words="a step, 1 to 6", entry=True),
    "class_code": Param(None, class_code, words=CODE_WORDS),  # whose answers are collected
    "lesson_view": choice("student", "teacher", "projector"),
    "lesson_rate": Param(RATE, one_number(*RATES), words=" | ".join(map(str, RATES))),
    "lesson_seed": Param(0, between(SEEDS[0], SEEDS[-1]), words=f"0 to {SEEDS[-1]}"),
}

# The runs that steps share; all other settings are those of the preset of the digits.
RUNS: dict[str, dict] = {
    "plain": dict(method="ce"),
    "mixnn": dict(k=K),
    "many": dict(k=LARGE_K),
    "alpha0": dict(k=K, alpha=0.0),
    "alpha1": dict(k=K, alpha=1.0),
    "quiet": dict(k=K, rate=LOW_RATE),
    "quiet_plain": dict(method="ce", rate=LOW_RATE),
}
RUN_WORDS = {
    "plain": "plain training",
    "mixnn": "MixNN",
    "many": f"MixNN, K = {LARGE_K}",
    "alpha0": "MixNN, alpha = 0",
    "alpha1": "MixNN, alpha = 1",
    "quiet": "MixNN, hardly any noise",
    "quiet_plain": "plain training, hardly any noise",
}


@dataclass(frozen=True)
class Step:
    """One step. options: key -> words; empty for a question that is answered in percent."""

    number: int
    title: str
    scene: str
    question: str
    runs: tuple[str, ...]
    words: tuple[str, ...]  # of the glossary
    options: dict[str, str] = field(default_factory=dict)
    page: tuple[str, str] = ("", "")  # where to continue: its folder and the link's text
    learned: str = ""  # what to remember, in a sentence

    @property
    def kind(self) -> str:
        return "choice" if self.options else PERCENT

    def words_of(self, answer: str) -> str:
        """An answer or an outcome as the page shows it; that of an earlier version is unchanged."""
        return self.options.get(answer, answer) if self.options else f"{answer} %"

    def takes(self, answer: str) -> bool:
        """Whether an answer, such as one of an earlier visit, is valid."""
        if self.options:
            return answer in self.options
        return answer.isdigit() and int(answer) <= 100


STEPS = (
    Step(
        1,
        "Early learning",
        "Here are 1,437 small images of digits, and we gave about {wrong} of them a wrong label. "
        "A network trains on all of them for 30 epochs and trusts every label; a test set with "
        "right labels is kept separate.",
        "How does its test accuracy develop?",
        ("plain",),
        ("noisy labels", "epoch", "test accuracy", "memorization", "early learning"),
        {
            "rise": "It rises to the end: more training, better results",
            "peak": "It rises first and falls later",
            "dip": "It rises, falls, then rises again, in part or in full",
            "flat": "It stays low from the start: wrong labels prevent learning",
        },
        ("train", "Watch a run while it trains"),
        learned="A network first learns what most labels agree on; wrong ones it memorizes later.",
    ),
    Step(
        2,
        "Losses",
        "After three epochs we measure the loss of each label: it is small if the network agrees "
        "with the label, and large if the label surprises it. Which labels are wrong is not used.",
        "Where do the losses of the wrong labels lie?",
        ("mixnn", "plain"),
        ("loss", "Gaussian mixture", "P(clean)"),
        {
            "large": "At large losses, apart from the right labels",
            "spread": "Spread evenly among the right labels",
            "small": "At small losses: the network trusts the labels it was given",
        },
        ("losses", "Move through the epochs"),
        learned="Early in training, a large loss is a sign of a wrong label.",
    ),
    Step(
        3,
        "Neighbors",
        "The network describes every image by a list of numbers, its features. For each image we "
        "look up the five others whose features are closest: its neighbors.",
        "Take an image with a wrong label: how many of its five neighbors show the same digit?",
        ("mixnn",),
        ("features", "neighbors", "K"),
        {
            "most": "4 or 5: neighbors follow the image",
            "half": "2 or 3",
            "few": "0 or 1: neighbors follow the wrong label",
        },
        ("sample", "See this image at all epochs"),
        learned="Images that a network finds similar usually show the same thing.",
    ),
    Step(
        4,
        "Mixing",
        "MixNN does not train on the image itself but on an average of it and its five neighbors, "
        "and it averages their labels in the same way. The more a label looks clean, the more "
        "weight its image gets.",
        "Take an image with a wrong label: which images get the weight?",
        ("mixnn",),
        ("mixing", "weights", "P(clean)", "soft label"),
        {
            "itself": "The image itself: it keeps more than half",
            "equal": "All six about the same",
            "neighbors": "Its neighbors: hardly any is left for the image itself",
        },
        ("sample", "Mix by hand"),
        learned="Averaged with its neighbors, a doubtful image gets a label that is mostly right.",
    ),
    Step(
        5,
        "Correction",
        "From the fourth epoch on, every label moves a little toward the network's prediction for "
        "its image, epoch after epoch. About {right} of the labels were right at the start.",
        "How many of the training labels are right in the end, in percent?",
        ("mixnn", "plain"),
        ("correction", "alpha", "corrected label", "label recovery"),
        page=("labels", "See every label that changed"),
        learned="A network stopped from memorizing can correct most labels, and harms a few.",
    ),
    Step(
        6,
        "When it fails",
        f"MixNN has its limits. We change one thing at a time: {LARGE_K} neighbors instead of {K}; "
        "alpha 0, so that the network's prediction replaces a label at once; alpha 1, so that no "
        f"label ever moves; and hardly any noise, {100 * LOW_RATE:.0f} % instead of {{rate}}.",
        "Which change costs the most test accuracy? For the last one, compare with plain training.",
        ("mixnn", "many", "alpha0", "alpha1", "quiet", "quiet_plain"),
        ("K", "alpha", "noise rate", "cross-entropy"),
        {
            "many": f"K = {LARGE_K}: distant neighbors are mixed in",
            "alpha0": "alpha = 0: labels jump",
            "alpha1": "alpha = 1: labels never move",
            "quiet": "Hardly any noise: nothing to gain",
            "none": "None of them costs anything",
        },
        ("compare", "Compare the runs side by side"),
        learned="Each setting assumes something about the data: change one at a time and measure.",
    ),
)


def settings(run: str, *, rate: float = RATE, seed: int = 0) -> RunConfig:
    """The settings of one of RUNS."""
    return configure(**dict(dataset="digits", rate=rate, seed=seed) | RUNS[run])
