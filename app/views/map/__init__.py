"""The map of features, epoch by epoch."""
