"""Learning with noisy labels by mixing with nearest neighbors (MixNN, arXiv 2406.16966)."""

__version__ = "0.1.0"
