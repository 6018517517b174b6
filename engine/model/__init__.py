"""Networks: normalized images (B, C, H, W) -> (logits (B, n_classes), features (B, D))."""

from engine.model.faster import EVALUATION_BATCH, compiled, for_evaluation
from engine.model.networks import NETWORKS, build, choose

__all__ = ["EVALUATION_BATCH", "NETWORKS", "build", "choose", "compiled", "for_evaluation"]
