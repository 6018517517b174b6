"""The terms of the field, each in one sentence."""

WORDS: dict[str, str] = {
    "noisy labels": "Labels of which some are wrong: the image shows a 3, the label says 8.",
    "given label": (
        "The label that came with the sample and that training starts from; it may be wrong."
    ),
    "true label": (
        "What the image really shows; known only where we spoiled the labels ourselves or "
        "somebody checked them."
    ),
    "corrected label": "The class with the most weight in the sample's soft label now.",
    "soft label": (
        "A share for each class instead of one class, for example 0.7 cat and 0.3 dog; the "
        "shares add up to 1."
    ),
    "noise rate": (
        "The share of labels that we asked to be spoiled; a symmetric draw may hit the "
        "right class again, so fewer are really wrong."
    ),
    "noise model": (
        "The rule by which labels were spoiled: at random among all classes, to a look-"
        "alike class, by what the image shows, or by a table of your own; or labels that people "
        "gave."
    ),
    "transition matrix": (
        "A table: of each true class (row), which share was given which label (column)."
    ),
    "loss": (
        "How surprised the network is by the current label of a sample: 0 is not at all, "
        "large is very."
    ),
    "memorization": (
        "The network has learned wrong labels by heart: it predicts exactly the wrong label"
        " that a sample was given."
    ),
    "early learning": (
        "Networks fit the clean labels first and the wrong ones only later; MixNN uses the "
        "time between."
    ),
    "mixture": (
        "Two bell curves fitted to the losses: one hump of small losses (mostly clean "
        "labels), one of large losses (mostly wrong ones)."
    ),
    "P(clean)": (
        "The probability that a sample's label is right, read from the two bell curves: 1 "
        "is surely clean, 0 surely wrong."
    ),
    "posterior": (
        "How the two bell curves share a loss between them: at each loss, the share of the "
        "clean one."
    ),
    "features": (
        "The numbers by which the network describes an image just before it decides; alike "
        "images get alike numbers."
    ),
    "neighbors": "The K samples whose features lie closest to a sample's own.",
    "K": "How many neighbors a sample is mixed with.",
    "mixing": (
        "MixNN trains on a weighted average of a sample and its neighbors, and the clean "
        "ones weigh more."
    ),
    "weights": "The shares of a sample and its neighbors in a mixed image; they add up to 1.",
    "alpha": (
        "The share of the old soft label that is kept at each correction: near 1 labels "
        "move slowly, at 0 the network's word replaces them at once."
    ),
    "correction": (
        "Moving soft labels a little toward what the network predicts, epoch after epoch."
    ),
    "warm-up": (
        "The first epochs, in which the network learns plainly and nothing is mixed or corrected."
    ),
    "epoch": "One pass of training over all samples; counted from 0.",
    "network": (
        "The model that is trained: it turns an image into features and then into a "
        "probability for each class."
    ),
    "method": (
        "What is done about the noise: nothing (cross-entropy), mixing, correction, or a "
        "loss that forgives."
    ),
    "cross-entropy": "Plain training, the baseline: believe every label as it is.",
    "mixup": "Training on averages of two samples drawn at random.",
    "seed": "The number that all chance in a run starts from; the same seed gives the same run.",
    "test accuracy": (
        "The share of images kept apart, with right labels, that the network gets right."
    ),
    "label recovery": "The share of training labels that are right after correction.",
    "threshold": "Labels whose P(clean) lies below it are called suspicious.",
    "precision": "Of the labels called wrong, the share that is wrong.",
    "recall": "Of the wrong labels, the share that was called wrong.",
    "F1": "One number for precision and recall together, 1 only where both are 1.",
    "ROC": (
        "For every threshold: the share of wrong labels found against the share of right "
        "labels accused."
    ),
    "AUROC": (
        "The chance that a clean label gets a higher P(clean) than a wrong one: 0.5 is "
        "guessing, 1 is perfect."
    ),
    "UMAP": "A map that keeps neighbors together: distances far apart on it mean little.",
    "PCA": "The flat view along the two directions in which the features differ most.",
    "fork": "A new run that starts from the network of another run after some epoch.",
    "confusion": "A table: of each true class, what it was taken for.",
    "label quality": (
        "How likely the given label is right: the mean of the probability that the network gives "
        "it and of its share among the labels of the nearest images; the most suspicious have the "
        "least."
    ),
}
