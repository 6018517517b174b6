"""A pretrained network of timm whose last block is trained with a new classifier."""

from typing import Any

from torch import Tensor, nn

from engine.data.backbone import create, image_batch, load_network
from engine.errors import DataError

# parts of timm's networks that have the blocks
STAGES = ("layer4", "stages", "blocks", "layers", "s4")


class FineTuned(nn.Module):
    """A network of timm: all but its last block and the classifier keep their weights.

    Images (B, C, H, W), normalized by the data set's mean and standard deviation, are resized to
    what the network expects. Batch normalization outside the last block keeps its statistics.
    """

    def __init__(self, name: str, n_classes: int):
        super().__init__()
        body: Any = create(name)
        self.name = name  # timm:NAME
        self.size = tuple(body.pretrained_cfg["input_size"])
        self.body, self.head = body, nn.Linear(body.num_features, n_classes)
        body.requires_grad_(False)
        last_block(body).requires_grad_(True)

    def load_weights(self, weights: str | None) -> None:
        """Take pretrained weights: a file, or "pretrained". Raises DataError."""
        self.body.load_state_dict(load_network(self.name, weights).state_dict())

    def train(self, mode: bool = True) -> "FineTuned":
        """Training mode of what is trained; the rest stays in evaluation mode."""
        super().train(mode)
        self.body.eval()
        last_block(self.body).train(mode)
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, n_classes) and features (B, D)."""
        features = self.body(image_batch(images, self.size)).flatten(1)
        return self.head(features), features


def last_block(network: nn.Module) -> nn.Module:
    """The last block of a network of timm. Raises DataError."""
    block: Any = next((getattr(network, name) for name in STAGES if hasattr(network, name)), None)
    while isinstance(inner := getattr(block, "blocks", block), nn.Sequential | nn.ModuleList):
        block = inner[-1]
    if block is None:
        raise DataError(
            f"{type(network).__name__} cannot be fine-tuned: no blocks are known of it; its "
            "features can be used (--backbone)"
        )
    return block


def fine_tuned(channels: int, n_classes: int, *, name: str) -> FineTuned:
    """A network to fine-tune, still with random weights. name: timm:NAME. Raises DataError."""
    return FineTuned(name, n_classes)
