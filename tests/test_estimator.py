"""The estimator in scikit-learn's tools, and its results beside cleanlab's."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from engine import MixNNClassifier, find_label_issues

slow = pytest.mark.slow
QUICK = dict(epochs=8, warmup=2, correction_start=5, random_state=0, device="cpu")


@pytest.fixture(scope="module")
def noisy():
    """Rows of digits, given labels as texts, of which 60 are wrong, and which ones."""
    X, y = load_digits(n_class=4, return_X_y=True)  # noqa: N806
    rng, given = np.random.default_rng(0), y.copy()
    wrong = rng.choice(len(y), 60, replace=False)
    given[wrong] = (given[wrong] + rng.integers(1, 4, 60)) % 4
    names = np.array(["zero", "one", "two", "three"])
    return X, names[given], names[y], np.isin(np.arange(len(y)), wrong)


def test_fit_predict_and_what_it_found(noisy):
    X, given, true, wrong = noisy  # noqa: N806
    model = MixNNClassifier(**QUICK).fit(X, given)
    assert (model.predict(X) == true).mean() > 0.97
    probabilities = model.predict_proba(X[:5])
    assert probabilities.shape == (5, 4)
    assert np.allclose(probabilities.sum(1), 1)
    assert (model.corrected_labels_ == true).mean() > 0.98
    assert model.clean_probability_[wrong].mean() < 0.2 < 0.8 < model.clean_probability_.mean()
    assert model.neighbors_.shape == (len(X), 5)
    assert (true[model.neighbors_] == true[:, None]).mean() > 0.9
    assert abs(model.n_wrong_ - 60) < 15


def test_in_the_tools_of_scikit_learn(noisy):
    X, given, true, wrong = noisy  # noqa: N806
    model = make_pipeline(StandardScaler(), MixNNClassifier(**QUICK))
    held_out = cross_val_predict(clone(model), X, given, cv=2, method="predict_proba")
    classes = np.unique(given)
    assert (classes[held_out.argmax(1)] == true).mean() > 0.9
    with pytest.raises(ValueError, match="sample_weight: allowed are X and y"):
        model.fit(X, given, mixnnclassifier__sample_weight=np.ones(len(X)))


def test_images_and_what_is_not_of_their_shape(noisy):
    X, given, true, _ = noisy  # noqa: N806
    images = (X.reshape(-1, 8, 8) * 15).astype(np.uint8)[:200]
    model = MixNNClassifier(**QUICK).fit(images, given[:200])
    assert (model.predict(images) == true[:200]).mean() > 0.9
    with pytest.raises(ValueError, match=r"allowed is \(1, 8, 8\)"):
        model.predict(images[:, :4])


def test_parts_of_your_own(noisy):
    import torch

    X, given, true, _ = noisy  # noqa: N806
    calls = []

    def squared(logits, targets):
        calls.append("loss")
        return (logits.softmax(1) - targets).square().sum(1)

    def all_clean(losses):
        calls.append("clean")
        return torch.ones_like(losses)

    own = dict(loss=squared, clean=all_clean, weights="equal", network="mlp", augment="none")
    model = MixNNClassifier(**QUICK, **own).fit(X, given)
    assert set(calls) == {"loss", "clean"}
    assert model.config_.weighting == "equal"
    assert (model.clean_probability_ == 1).all()
    with pytest.raises(ValueError, match="alpha = 2"):
        MixNNClassifier(alpha=2).fit(X, given)


def test_results_in_the_form_of_cleanlab(noisy):
    from cleanlab.classification import CleanLearning
    from cleanlab.filter import find_label_issues as filter_label_issues

    X, given, _, wrong = noisy  # noqa: N806
    ours = find_label_issues(X, given, **QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classifier = LogisticRegression(max_iter=200)
        numbers = np.unique(given, return_inverse=True)[1]
        theirs = CleanLearning(classifier).find_label_issues(X / 16, numbers)
    columns = ["is_label_issue", "label_quality", "given_label", "predicted_label"]
    assert list(ours.columns) == columns == list(theirs[columns].columns)
    assert isinstance(ours, pd.DataFrame)
    for name in columns[:2]:
        assert ours[name].dtype == theirs[name].dtype or name == "label_quality"
    for found in (ours, theirs):
        assert (found["is_label_issue"] & wrong).sum() > 45
    assert (ours["is_label_issue"] & theirs["is_label_issue"]).sum() > 40
    assert (ours["is_label_issue"] & ~wrong).sum() <= (theirs["is_label_issue"] & ~wrong).sum() + 3

    ranked = find_label_issues(X, given, return_indices_ranked_by="self_confidence", **QUICK)
    held_out = cross_val_predict(classifier, X / 16, numbers, cv=3, method="predict_proba")
    by_filter = filter_label_issues(
        numbers, held_out, return_indices_ranked_by="self_confidence", n_jobs=1
    )
    assert ranked.dtype == by_filter.dtype
    assert wrong[ranked[:40]].all()


@slow
def test_scikit_learns_own_checks():
    check_estimator(MixNNClassifier(epochs=8, warmup=2, correction_start=6, random_state=0))
