"""Networks: normalized images (B, C, H, W) -> (logits (B, n_classes), features (B, D))."""

from engine.models.compilation import EVALUATION_BATCH, compiled, for_evaluation
from engine.models.networks import NETWORKS, build, choose

__all__ = ["EVALUATION_BATCH", "NETWORKS", "build", "choose", "compiled", "for_evaluation"]
