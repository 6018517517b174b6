"""Networks: normalized images (B, C, H, W) -> (logits (B, n_classes), features (B, D))."""

from engine.models.compilation import EVALUATION_BATCH, compiled, for_evaluation
from engine.models.networks import build, choose, is_rows

__all__ = ["EVALUATION_BATCH", "build", "choose", "compiled", "for_evaluation", "is_rows"]
