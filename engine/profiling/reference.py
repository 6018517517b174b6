"""The authors' way of computing an epoch, for its cost; after METHOD, not their code.

Float32, channels first; each image augmented on its own by Pillow; two forward passes in training
mode per batch, of the unmixed and of the mixed images; an HNSW graph built for each batch; weights,
soft labels and losses computed sample by sample in Python.
"""

import numpy as np
import torch
from torch import Tensor

from engine import models
from engine.config import RunConfig, registry
from engine.data import Data
from engine.method import optimization
from engine.method.losses import soft_cross_entropy
from engine.method.mixing import EPSILON


class ReferenceImplementation:
    """A network and the first n_images of the data, and the two passes of an epoch over them.

    given: (N,) labels. Batch size and network are config's; the network is in float32 and in
    PyTorch's default memory layout.
    """

    def __init__(
        self, config: RunConfig, data: Data, given: np.ndarray, n_images: int, device: torch.device
    ):
        from PIL import Image  # late: a machine that only trains may lack them
        from torchvision import transforms

        mean, std = (v.tolist() for v in data.channel_stats())
        last = [transforms.ToTensor(), transforms.Normalize(mean, std)]
        height = data.shape[1]
        self.augmented = transforms.Compose(
            [
                transforms.RandomCrop(height, padding=config.padding),
                transforms.RandomHorizontalFlip(),
                *last,
            ]
        )
        self.plain = transforms.Compose(last)
        self.n_images, self.device = n_images, device
        pixels = data.images[:n_images].permute(0, 2, 3, 1).cpu().numpy()
        self.images = [Image.fromarray(image.squeeze()) for image in pixels]
        network = models.choose(config.network, data.shape)
        self.model = models.build(
            registry.function("networks", network), data.shape, data.n_classes, seed=0
        ).to(device)
        self.optimizer = optimization.build(
            "sgd",
            self.model.parameters(),
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
        self.batch_size, self.alpha = config.batch_size, config.alpha
        self.soft = np.eye(data.n_classes, dtype=np.float32)[given[:n_images]]
        self.clean = np.full(n_images, 0.5)

    def train(self) -> None:
        """One training pass over mixed batches."""
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = 0.001
        order = np.random.default_rng(0).permutation(self.n_images)
        for start in range(0, self.n_images, self.batch_size):
            batch = order[start : start + self.batch_size]
            images = self._load(batch, self.augmented)
            with torch.no_grad():
                logits, features = self.model(images)
            predicted = logits.softmax(1).cpu().numpy()
            partners = self._partners(features.cpu().numpy())
            weights = np.empty(len(batch), np.float32)
            for row, sample in enumerate(batch):
                own, other = self.clean[sample], self.clean[batch[partners[row]]]
                weights[row] = (own + EPSILON) / (own + other + EPSILON)
                self.soft[sample] = (
                    self.alpha * self.soft[sample] + (1 - self.alpha) * predicted[row]
                )
            share = torch.from_numpy(weights).to(self.device)
            targets = torch.from_numpy(self.soft[batch]).to(self.device)
            others = torch.from_numpy(partners).to(self.device)
            image_share = share[:, None, None, None]
            mixed = image_share * images + (1 - image_share) * images[others]
            mixed_targets = share[:, None] * targets + (1 - share[:, None]) * targets[others]
            loss = soft_cross_entropy(self.model(mixed)[0], mixed_targets).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    @torch.no_grad()
    def evaluate(self) -> None:
        """One pass for the losses, and the mixture fitted to them."""
        from sklearn.mixture import GaussianMixture

        self.model.eval()
        losses = np.empty(self.n_images)
        for start in range(0, self.n_images, self.batch_size):
            batch = np.arange(start, min(start + self.batch_size, self.n_images))
            logits, _ = self.model(self._load(batch, self.plain))
            hard = torch.from_numpy(self.soft[batch].argmax(1)).to(self.device)
            batch_losses = torch.nn.functional.cross_entropy(logits, hard, reduction="none")
            for row, sample in enumerate(batch):
                losses[sample] = batch_losses[row].item()
        scaled = ((losses - losses.min()) / (np.ptp(losses) or 1))[:, None]
        mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=0)
        mixture.fit(scaled)
        self.clean = mixture.predict_proba(scaled)[:, mixture.means_.argmin()]

    def _load(self, batch: np.ndarray, transform) -> Tensor:
        return torch.stack([transform(self.images[sample]) for sample in batch]).to(self.device)

    @staticmethod
    def _partners(features: np.ndarray) -> np.ndarray:
        """The nearest other sample of each in a batch (B, D), by a graph built for it."""
        import hnswlib

        graph = hnswlib.Index("l2", features.shape[1])
        graph.init_index(len(features), M=16, ef_construction=100)
        graph.add_items(features)
        graph.set_ef(50)
        nearest = graph.knn_query(features, 2)[0].astype(np.int64)
        return np.array(
            [next(int(other) for other in pair if other != row) for row, pair in enumerate(nearest)]
        )
