"""The method as scikit-learn and cleanlab users know it: an estimator, and find_label_issues."""

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, check_X_y, validate_data

from engine import configure, from_arrays, prepare_state, train
from engine.analysis.label_evidence import add_pred_probs
from engine.analysis.label_issues import Judgment, judge

if TYPE_CHECKING:
    import pandas as pd

BATCH = 4096
STEPS, SMALLEST = 16, 16  # batches of an epoch at least, unless they had fewer samples than that
FLOATS = [np.float64, np.float32, np.float16]
SMALL_SIDE = 28  # pixels up to which images have the settings of digits


class MixNNClassifier(ClassifierMixin, BaseEstimator):
    """A classifier that learns from labels of which some are wrong, and says which.

    X: rows (N, D) of features, which it scales by itself, or images (N, H, W) or (N, H, W, 1 or 3),
    uint8 or floats in [0, 1]. y: (N,) labels of any kind, right or wrong.

    Parameters are the settings of a run (`engine.configure`) that matter most; None is the value
    that is tuned for rows or images. settings: any others, by name. loss, weights, clean, network,
    augment: the name of a built-in part, or a part of your own, as of `engine.train`. random_state:
    None, an int or a RandomState; None draws one in each fit.

    Attributes after `fit`: classes_ (C,); clean_probability_ (N,) in [0, 1], that the given label
    is right; corrected_labels_ (N,), y with the proposed changes; neighbors_ (N, k) int64, the
    nearest samples in the last epoch; label_quality_ (N,) in [0, 1], the lowest are the most
    suspicious; label_issues_ (N,) bool; n_wrong_, how many labels are estimated to be wrong, nan
    where that is not known; n_features_in_ for rows; config_, all settings.

    >>> model = MixNNClassifier(random_state=0).fit(X, y)  # doctest: +SKIP
    >>> model.corrected_labels_[model.label_issues_]  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        method: str = "mixnn",
        k: int | None = None,
        alpha: float | None = None,
        epochs: int | None = None,
        warmup: int | None = None,
        correction_start: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        metric: str = "l2",
        loss: Any = None,
        weights: Any = None,
        clean: Any = None,
        network: Any = None,
        augment: Any = None,
        device: str = "auto",
        settings: dict[str, Any] | None = None,
        random_state: Any = None,
    ):
        self.method = method
        self.k = k
        self.alpha = alpha
        self.epochs = epochs
        self.warmup = warmup
        self.correction_start = correction_start
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.metric = metric
        self.loss = loss
        self.weights = weights
        self.clean = clean
        self.network = network
        self.augment = augment
        self.device = device
        self.settings = settings
        self.random_state = random_state

    def fit(self, X: Any, y: Any, **fit_params: Any) -> "MixNNClassifier":  # noqa: N803
        """Train on X and y, see the class. Raises ValueError, also for sample_weight."""
        if fit_params:
            raise ValueError(
                f"fit got {', '.join(fit_params)}: allowed are X and y. MixNN weighs samples by "
                "the probability that their labels are clean"
            )
        X, y = self._checked_pair(X, y)  # noqa: N806
        self.classes_, given = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y has one class, {self.classes_[0]!r}: two are needed")
        names = [str(number) for number in range(len(self.classes_))]
        data = from_arrays(X, given.astype(np.int64), classes=names)
        self.config_ = self._config(data.n, data.is_rows, max(data.shape[1:]))
        state = prepare_state(self.config_, data)
        evidence = _Evidence(given, len(self.classes_), self.config_)
        for snapshot in train(state.config, data, state=state):
            evidence.add(snapshot)
        found = evidence.judged()
        self.clean_probability_ = evidence.clean
        self.neighbors_ = evidence.neighbors
        self.label_quality_ = found.quality
        self.label_issues_ = np.isin(np.arange(data.n), found.flagged)
        self.n_wrong_ = np.nan if found.noise is None else found.noise.n_wrong
        self.corrected_labels_ = self.classes_[found.proposed]
        self.suggested_labels_ = self.classes_[found.suggested]
        self._empty = data.subset(np.arange(0))
        # in double precision, so that a prediction does not depend on the others of its batch
        self._network = copy.deepcopy(state.evaluation_network()).cpu().double()
        self._mean, self._std = (v.cpu().double()[:, None, None] for v in (state.mean, state.std))
        return self

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Probabilities (n, C) of classes_, rows sum to 1. X: as in `fit`. Raises ValueError."""
        check_is_fitted(self)
        images = self._empty.converted(self._checked(X))
        with torch.no_grad():
            chunks = [
                self._network((chunk.double() / 255 - self._mean) / self._std)[0].softmax(1)
                for chunk in images.split(BATCH)
            ]
        return torch.cat(chunks).numpy()

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The likeliest class (n,) of each sample. X: as in `fit`. Raises ValueError."""
        best = self.predict_proba(X).argmax(1)
        return self.classes_[best]

    def _checked(self, X: Any) -> np.ndarray:  # noqa: N803
        """X of predictions as an array, checked as scikit-learn does."""
        if _are_images(X):
            return check_array(X, allow_nd=True, dtype=None)
        return validate_data(self, X, dtype=FLOATS, reset=False)

    def _checked_pair(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:  # noqa: N803
        """X and y of `fit` as arrays, checked as scikit-learn does."""
        if _are_images(X):
            X, y = check_X_y(X, y, allow_nd=True, dtype=None)  # noqa: N806
        else:
            X, y = validate_data(self, X, y, dtype=FLOATS, ensure_min_samples=2)  # noqa: N806
        check_classification_targets(y)
        return X, y

    def _config(self, n: int, is_rows: bool, side: int) -> Any:
        """The settings of a run on n samples."""
        from sklearn.utils import check_random_state

        names = ("alpha", "epochs", "warmup", "correction_start", "batch_size", "learning_rate")
        parts = dict(loss="loss", weights="weighting", clean="clean_from", network="network")
        parts |= dict(augment="augment")
        own = {name: getattr(self, name) for name in names}
        own |= {setting: getattr(self, name) for name, setting in parts.items()}
        tuned = "features" if is_rows else "digits" if side <= SMALL_SIDE else "npz"
        config = configure(
            method=self.method,
            dataset=tuned,
            **{
                **{name: value for name, value in own.items() if value is not None},
                **dict(noise="none", neighbor_metric=self.metric, device=self.device),
                **dict(panel_size=2),  # every sample gets the votes of its neighbors
                **dict(seed=int(check_random_state(self.random_state).randint(2**31))),
                **(self.settings or {}),
            },
        )
        if self.batch_size is None:  # a small set needs its steps as well
            config = config.changed(batch_size=min(config.batch_size, max(n // STEPS, SMALLEST)))
        return config.changed(k=min(config.k, n - 1) if self.k is None else self.k)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def _are_images(X: Any) -> bool:  # noqa: N803
    shape = np.shape(X) if isinstance(X, list | tuple) else getattr(X, "shape", ())
    return len(shape) in (3, 4)


class _Evidence:
    """What the epochs before correction say of the given labels, as `analysis.label_evidence`."""

    def __init__(self, given: np.ndarray, n_classes: int, config: Any):
        n = len(given)
        before = config.epochs if config.correction == "none" else config.correction_start
        before = max(1, min(before, config.epochs))
        self.judged_epochs = range(before // 2, before)
        self.before, self.given = before, given
        self.voter = config.voter(n)
        self.pred_probs = np.zeros((n, n_classes), np.float32)
        self.votes = np.zeros((n, n_classes), np.float32)
        self.loss = np.zeros(n, np.float32)
        self.clean = np.full(n, np.nan, np.float32)
        self.neighbors = np.empty((n, 0), np.int64)

    def add(self, snapshot: Any) -> None:
        """Add an epoch."""
        if snapshot.neighbors.shape[1]:
            self.neighbors = snapshot.neighbors.astype(np.int64)
        if snapshot.epoch < self.before:
            self.clean = snapshot.clean
        if snapshot.epoch in self.judged_epochs:
            own = (snapshot.prediction, snapshot.confidence, snapshot.loss, self.given)
            add_pred_probs(self.pred_probs, *own)
            self.loss += snapshot.loss
            if snapshot.votes is not None:
                self.votes += snapshot.votes

    def judged(self) -> Judgment:
        """The judgment on the given labels."""
        n = len(self.judged_epochs)
        with np.errstate(invalid="ignore"):
            votes = self.votes / self.votes.sum(1, keepdims=True)
        likelihood = np.exp(-self.loss / n)
        return judge(self.given, self.pred_probs / n, votes, likelihood, voter=self.voter)


def find_label_issues(
    X: Any,  # noqa: N803
    y: Any,
    *,
    return_indices_ranked_by: str | None = None,
    **parameters: Any,
) -> "pd.DataFrame | np.ndarray":
    """Which labels are likely wrong: the table of cleanlab's `CleanLearning.find_label_issues`.

    X, y: as of `MixNNClassifier`, which is fitted with the parameters. Returns a DataFrame with one
    row per sample: is_label_issue (bool), label_quality (in [0, 1], the lowest are the most
    suspicious), given_label, predicted_label. return_indices_ranked_by="label_quality" (or
    "self_confidence", as cleanlab calls it): instead the rows of the issues (n,) int64, the most
    suspicious first, as of cleanlab's `filter.find_label_issues`. Raises ValueError.

    >>> issues = find_label_issues(X, y, random_state=0)  # doctest: +SKIP
    >>> issues.query("is_label_issue").sort_values("label_quality")  # doctest: +SKIP
    """
    import pandas as pd

    if return_indices_ranked_by not in (None, "label_quality", "self_confidence"):
        raise ValueError(
            f"return_indices_ranked_by = {return_indices_ranked_by!r}: allowed are None, "
            "'label_quality' and 'self_confidence'"
        )
    model = MixNNClassifier(**parameters).fit(X, y)
    if return_indices_ranked_by is not None:
        issues = np.flatnonzero(model.label_issues_)
        return issues[np.argsort(model.label_quality_[issues], kind="stable")]
    return pd.DataFrame(
        {
            "is_label_issue": model.label_issues_,
            "label_quality": model.label_quality_,
            "given_label": np.asarray(y),
            "predicted_label": model.suggested_labels_,
        }
    )
