"""The cost of an epoch, stage by stage, compared with cross-entropy and the reference code."""
