"""The training loop, and the state of a run between two epochs."""
