"""Numbers of samples: imbalance, small and missing classes, too few samples in all."""

import numpy as np

from engine.analysis.checks.report import Check, Item, Table, check
from engine.analysis.checks.samples import Samples
from engine.data.parts import some

MIN_IMBALANCE = 10  # largest to smallest class, from which on a warning is given
MIN_CLASS_SIZE = 10  # samples, below which a class can hardly be learned
MIN_SAMPLES = 500  # below which suggestions are rough
TITLE = "Class sizes"


def balance_check(samples: Samples) -> Check:
    """Class sizes of the training part, and classes that other parts lack."""
    n_classes, noun = len(samples.classes), samples.noun
    counts = {
        name: np.bincount(samples.labels[samples.rows_of(name)], minlength=n_classes)
        for name in samples.parts
    }
    train = counts["train"]
    items: list[Item] = []

    def say(text: str) -> None:
        items.append(Item((), text, -len(items)))

    if (n := int(train.sum())) < MIN_SAMPLES:
        text = f"Only {n:,} {noun}{'' if n == 1 else 's'}: the suggestions will be rough. "
        say(f"{text}They become useful from about {MIN_SAMPLES} {noun}s on.")
    present = np.flatnonzero(train)
    if len(present) == 1:
        say(f"All training {noun}s are {samples.classes[present[0]]}: there is nothing to tell.")
    elif len(present) and train.max() >= MIN_IMBALANCE * train[present].min():
        most, least = int(train.argmax()), int(present[train[present].argmin()])
        text = f"{samples.classes[most]} has {train[most] / train[least]:.0f} times as many "
        text += f"{noun}s as {samples.classes[least]}: "
        say(f"{text}labels of rare classes are harder to check.")
    if tiny := [samples.classes[c] for c in present if train[c] < MIN_CLASS_SIZE]:
        text = f"Fewer than {MIN_CLASS_SIZE} {noun}s in {some(tiny)}: "
        say(f"{text}too few to learn from, so check all of them by hand.")
    for name in samples.parts:
        lacking = [samples.classes[c] for c in present if not counts[name][c]]
        if lacking and name != "train":
            say(f"The {name} part has no {noun} of {some(lacking)}.")
    order = np.argsort(-train, kind="stable")
    rows = tuple(
        (samples.classes[c], *(f"{counts[name][c]:,}" for name in samples.parts)) for c in order
    )
    table = Table(("class", *samples.parts), rows)
    found = " ".join(item.text for item in items)
    return check(
        "class_sizes", TITLE, items, found, "No class is much smaller than others.", table=table
    )
