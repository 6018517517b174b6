"""Published methods as plain PyTorch loops, recorded and compared with this project's on digits.

    python notebooks/examples/peers.py [--methods elr ssr dividemix mixnn] [--rate 0.4] [--seeds 0]
        [--epochs 30] [--out runs/peers]

Each loop is written from its paper, in the simplest form: the network, learning rate, batch size
and epochs of the digits preset, no augmentation. The app opens the runs (MIXNN_RUNS=runs/peers).
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from engine import Recorder, RunFolder, configure, load, train_run
from engine.analysis.statistics import format_mean, means
from engine.config import RunConfig
from engine.models.networks import small
from engine.training.noisy_labels import make_noisy_labels


@dataclass(frozen=True, eq=False)
class Problem:
    """Digits with noisy labels, the same ones as in the project's own runs. N images, C classes."""

    config: RunConfig
    data: object
    x: Tensor  # (N, 1, 8, 8) normalized
    y: Tensor  # (N,) int64, given labels
    true: np.ndarray  # (N,)
    test_x: Tensor
    test_y: Tensor
    n_classes: int

    @classmethod
    def of(cls, config: RunConfig) -> "Problem":
        """The problem that a run with these settings has."""
        data = load("digits", limit=config.limit)
        labels = make_noisy_labels(config, data)
        mean, std = data.images.float().mean(), data.images.float().std()
        x, test_x = ((part.float() - mean) / std for part in (data.images, data.test_images))
        given = torch.from_numpy(labels.given)
        return cls(config, data, x, given, labels.true, test_x, data.test_labels, data.n_classes)

    def recorder(self, folder: Path, method: Callable) -> Recorder:
        """Records a loop."""
        keys = ("seed", "learning_rate", "batch_size")
        return Recorder(
            folder,
            self.data,
            self.y,
            true_labels=self.true,
            epochs=self.config.epochs,
            name=method.__name__,
            source=method,
            **{key: getattr(self.config, key) for key in keys},
        )


class Learner:
    """A network with its optimizer: SGD, one cosine over all epochs."""

    def __init__(self, problem: Problem, seed: int):
        config = problem.config
        torch.manual_seed(seed)
        self.network = small(problem.x.shape[1], problem.n_classes)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, config.epochs)

    def logits(self, x: Tensor) -> Tensor:
        """(B, C), in training mode."""
        return self.network.train()(x)[0]

    def step(self, loss: Tensor) -> None:
        """One step of the optimizer."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    @torch.no_grad()
    def outputs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (N, C) and features (N, D), in evaluation mode."""
        logits, features = self.network.eval()(x)
        return logits.softmax(1), features


def accuracy(learners: list[Learner], problem: Problem) -> float:
    """Test accuracy of the mean prediction."""
    mean = torch.stack([each.outputs(problem.test_x)[0] for each in learners]).mean(0)
    return float((mean.argmax(1) == problem.test_y).float().mean())


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over a batch; targets: (B, C), rows sum to 1."""
    return -(targets * logits.log_softmax(1)).sum(1).mean()


def mixed(x: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Mixup of random pairs of a batch, the first one having the larger share."""
    share = float(np.random.beta(alpha, alpha))
    share, order = max(share, 1 - share), torch.randperm(len(x))
    return share * x + (1 - share) * x[order], share * targets + (1 - share) * targets[order]


def elr(problem: Problem, recorder: Recorder, beta: float = 0.7, strength: float = 3.0) -> None:
    """Early-learning regularization, Liu et al. 2020, arXiv 2007.00151.

    Cross-entropy + strength log(1 - <p, t>); t is the moving average of a sample's predictions p.
    """
    learner = Learner(problem, problem.config.seed)
    average = torch.zeros(len(problem.y), problem.n_classes)
    for epoch in range(problem.config.epochs):
        for batch in torch.randperm(len(problem.y)).split(problem.config.batch_size):
            logits = learner.logits(problem.x[batch])
            p = logits.softmax(1).clamp(1e-4, 1 - 1e-4)
            seen = p.detach() / p.detach().sum(1, keepdim=True)
            average[batch] = beta * average[batch] + (1 - beta) * seen
            agreement = (average[batch] * p).sum(1)
            penalty = (1 - agreement).log().mean()
            learner.step(cross_entropy(logits, problem.y[batch]) + strength * penalty)
        learner.schedule.step()
        p, features = learner.outputs(problem.x)
        reached = accuracy([learner], problem)
        recorder.log(epoch, probabilities=p, features=features, test_accuracy=reached)


def ssr(problem: Problem, recorder: Recorder, sure: float = 0.9, k: int = 50) -> None:
    """Sample selection and relabeling, Feng et al. 2022, arXiv 2111.11288, without consistency.

    A label is the prediction where that is sure, else the given one. Samples whose label wins the
    vote of their k nearest neighbors are trained on, all classes equally often, with mixup.
    """
    learner = Learner(problem, problem.config.seed)
    n, c = len(problem.y), problem.n_classes
    for epoch in range(problem.config.epochs):
        p, features = learner.outputs(problem.x)
        confidence, best = p.max(1)
        labels = torch.where(confidence > sure, best, problem.y)
        unit = torch.nn.functional.normalize(features).numpy()
        near = NearestNeighbors(n_neighbors=k + 1).fit(unit).kneighbors(unit)[1][:, 1:]
        votes = one_hot(labels[near], c).sum(1) / labels.bincount(minlength=c).clamp(min=1)
        clean = votes.gather(1, labels[:, None])[:, 0] >= votes.amax(1)
        kept = labels[clean].bincount(minlength=c).clamp(min=1)
        chances = clean / kept[labels]  # evenly over classes
        targets = one_hot(labels, c).float()
        for batch in torch.multinomial(chances, n, replacement=True).split(
            problem.config.batch_size
        ):
            x, target = mixed(problem.x[batch], targets[batch], alpha=4)
            learner.step(soft_cross_entropy(learner.logits(x), target))
        learner.schedule.step()
        p, features = learner.outputs(problem.x)
        recorder.log(
            epoch,
            probabilities=p,
            features=features,
            clean=clean.float(),
            soft=targets,
            test_accuracy=accuracy([learner], problem),
        )


def dividemix(
    problem: Problem, recorder: Recorder, warmup: int = 2, alpha: float = 4.0, weight: float = 25.0
) -> None:
    """DivideMix, Li et al. 2020, arXiv 2002.07394, with one view of each image.

    Two networks. Each trains on what a mixture of the losses of the *other* one calls clean, with
    refined labels, and on the rest with guessed ones, all of them mixed (MixMatch).
    """
    pair = [Learner(problem, problem.config.seed + 1000 * i) for i in range(2)]
    y, n, c = one_hot(problem.y, problem.n_classes).float(), len(problem.y), problem.n_classes

    def sharp(p: Tensor) -> Tensor:  # temperature 0.5
        return p**2 / (p**2).sum(1, keepdim=True)

    for epoch in range(problem.config.epochs):
        clean = [probability_clean(each, problem) for each in pair][::-1]
        for learner, other, own in zip(pair, pair[::-1], clean, strict=True):
            if epoch < warmup:
                for batch in torch.randperm(n).split(problem.config.batch_size):
                    logits = learner.logits(problem.x[batch])
                    learner.step(soft_cross_entropy(logits, y[batch]))
                continue
            labeled, unlabeled = torch.where(own > 0.5)[0], torch.where(own <= 0.5)[0]
            if len(labeled) < 2:
                continue
            for rows in labeled[torch.randperm(len(labeled))].split(problem.config.batch_size):
                rest = rows[:0]
                if len(unlabeled):
                    rest = unlabeled[torch.randint(len(unlabeled), rows.shape)]
                both = torch.cat([rows, rest])
                p = [each.outputs(problem.x[both])[0] for each in (learner, other)]
                mine, sure = p[0][: len(rows)], own[rows][:, None]
                refined = sharp(sure * y[rows] + (1 - sure) * mine)
                guessed = sharp((p[0] + p[1])[len(rows) :] / 2)
                x, target = mixed(problem.x[both], torch.cat([refined, guessed]), alpha)
                logits = learner.logits(x)
                loss = soft_cross_entropy(logits[: len(rows)], target[: len(rows)])
                if len(rest):
                    ramp = min(1.0, (epoch - warmup) / 16)
                    errors = (logits[len(rows) :].softmax(1) - target[len(rows) :]).square()
                    loss = loss + weight * ramp * errors.mean()
                shares = logits.softmax(1).mean(0)  # no class may vanish
                loss = loss - (shares.log() / c).sum() - math.log(c)
                learner.step(loss)
            learner.schedule.step()
        outputs = [each.outputs(problem.x) for each in pair]
        recorder.log(
            epoch,
            probabilities=(outputs[0][0] + outputs[1][0]) / 2,
            features=outputs[0][1],
            clean=sum(clean) / 2,
            test_accuracy=accuracy(pair, problem),
        )


def probability_clean(learner: Learner, problem: Problem) -> Tensor:
    """(N,) P(clean): of two components of the losses, that of the smaller mean."""
    losses = -learner.outputs(problem.x)[0].clamp(min=1e-6).log()
    own = losses.gather(1, problem.y[:, None])
    scaled = (own - own.min()) / (own.max() - own.min() + 1e-9)
    mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=0)
    found = mixture.fit(scaled.numpy()).predict_proba(scaled.numpy())
    return torch.from_numpy(found[:, mixture.means_.argmin()]).float()


PEERS = {loop.__name__: loop for loop in (elr, ssr, dividemix)}


def run(method: str, folder: Path, **settings: object) -> RunFolder:
    """Train a peer, or a method of this project by its name, and open its run folder."""
    if method not in PEERS:
        return train_run(configure(method=method, dataset="digits", **settings), folder.parent)
    problem = Problem.of(configure(method="ce", dataset="digits", **settings))
    torch.manual_seed(problem.config.seed)
    np.random.seed(problem.config.seed)
    with problem.recorder(folder, PEERS[method]) as recorder:
        PEERS[method](problem, recorder)
    return RunFolder(folder)


def main() -> None:
    """Train what is missing and print a table: last epoch, means and 95 % intervals."""
    import pandas as pd

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--methods", nargs="+", default=[*PEERS, "mixnn", "mixnn-plus"])
    parser.add_argument("--rate", type=float, default=0.4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("runs/peers"))
    options = parser.parse_args()
    rows = []
    for seed in options.seeds:
        for method in options.methods:
            folder = options.out / f"{method}-rate{options.rate:g}-e{options.epochs}-s{seed}"
            own = dict(rate=options.rate, seed=seed, epochs=options.epochs)
            found = RunFolder(folder) if folder.exists() else run(method, folder, **own)
            last = found.epochs[-1]["metrics"]
            kept = {key: last[key] for key in ("test_accuracy", "detection_auroc")}
            rows.append({"method": method, "seed": seed} | kept)
            print(f"{method}, seed {seed}: {last['test_accuracy']:.1%}", flush=True)
    for _, row in means(pd.DataFrame(rows), ["method"], ["test_accuracy"]).iterrows():
        print(f"{row['method']}: {format_mean(row)}")


if __name__ == "__main__":
    main()
