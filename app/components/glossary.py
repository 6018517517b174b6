"""The terms of the field, each defined in one sentence."""

GLOSSARY: dict[str, str] = {
    "noisy labels": "Labels of which some are wrong: the image shows a 3, the label says 8.",
    "given label": (
        "The label that came with the sample and that training starts from; it may be wrong."
    ),
    "true label": (
        "What the image really shows; known only where the noise was added here or experts "
        "verified the labels."
    ),
    "corrected label": "The class with the largest weight in the sample's soft label now.",
    "soft label": (
        "A probability for each class instead of one class, for example 0.7 cat and 0.3 dog; they "
        "sum to 1."
    ),
    "label outcome": (
        "What correction did to a label: clean (right, and still right), corrected (wrong, now "
        "right), missed (wrong, unchanged), harmed (right, now wrong) or changed (wrong, now "
        "another wrong class)."
    ),
    "noise rate": (
        "The share of labels that the noise model replaces; symmetric noise may draw the right "
        "class again, so slightly fewer are really wrong."
    ),
    "noise model": (
        "The rule by which labels become wrong: uniformly among all classes, into a similar class, "
        "depending on the image, by a transition matrix of your own, or labels that people gave."
    ),
    "transition matrix": (
        "A table of P(given label | true label): each row is a true class, each column a given "
        "label, and every row sums to 1."
    ),
    "loss": (
        "How much the network's prediction disagrees with the current label of a sample: 0 is full "
        "agreement."
    ),
    "memorization": (
        "A network memorizes a wrong label when it predicts exactly that label for the sample."
    ),
    "early learning": (
        "Networks fit clean labels first and memorize wrong ones later; MixNN uses the time in "
        "between."
    ),
    "Gaussian mixture": (
        "Two Gaussian components fitted to the losses of an epoch: one of small losses (mostly "
        "clean labels), one of large losses (mostly wrong labels)."
    ),
    "P(clean)": (
        "The probability that a sample's label is right, by the Gaussian mixture of the losses: 1 "
        "is surely clean, 0 surely wrong."
    ),
    "posterior": (
        "The probability of the clean component at a given loss; for a sample's own loss it is its "
        "P(clean)."
    ),
    "features": (
        "The network's representation of an image, before the last layer; similar images have "
        "similar features."
    ),
    "neighbors": "The K samples whose features are closest to those of a sample.",
    "K": "The number of neighbors that a sample is mixed with.",
    "mixing": (
        "MixNN trains on weighted averages of a sample and its neighbors, in which clean ones "
        "have more weight."
    ),
    "weights": "The shares of a sample and its neighbors in a mixed image; they sum to 1.",
    "alpha": (
        "The share of the old soft label that each correction keeps: near 1 labels change slowly, "
        "at 0 the network's prediction replaces them at once."
    ),
    "correction": "Moving soft labels toward the network's predictions after each epoch.",
    "warm-up": "The first epochs: plain cross-entropy training, without mixing or correction.",
    "epoch": "One pass of training over all samples; counted from 0.",
    "network": "The model that is trained: it maps an image to features and class probabilities.",
    "method": (
        "How training deals with the noise: not at all (cross-entropy), by mixing, by label "
        "correction, or by a robust loss."
    ),
    "cross-entropy": "Plain training, the baseline: every label is trusted.",
    "mixup": "Training on weighted averages of two randomly chosen samples.",
    "seed": "The start of all random numbers of a run; the same seed gives the same run.",
    "test accuracy": (
        "The share of test images, which have right labels and are not trained on, that the "
        "network classifies correctly."
    ),
    "label recovery": "The share of training labels that are right after correction.",
    "threshold": "Labels with a P(clean) below it are flagged as suspicious.",
    "precision": "Of the flagged labels, the share that is really wrong.",
    "recall": "Of the wrong labels, the share that is flagged.",
    "F1": "The harmonic mean of precision and recall; 1 only where both are 1.",
    "ROC": (
        "For every threshold: the share of wrong labels flagged against the share of right "
        "labels flagged."
    ),
    "AUROC": (
        "The probability that a clean label has a higher P(clean) than a wrong one: 0.5 is "
        "guessing, 1 is perfect."
    ),
    "UMAP": "A nonlinear projection that preserves neighborhoods; large distances mean little.",
    "PCA": "The linear projection onto the directions in which the features vary most.",
    "fork": "A new run that starts from the network of another run after some epoch.",
    "confusion": "A table: of each true class, which classes were predicted or given.",
    "label quality": (
        "How likely the given label is right: the geometric mean of the probability that the "
        "network gave it before correction and of its share among the labels of the nearest "
        "images, relative to other labels of the class; the most suspicious have the lowest."
    ),
}


def word(term: str) -> str:
    """The definition of a term, for the help of a widget."""
    return GLOSSARY[term]
