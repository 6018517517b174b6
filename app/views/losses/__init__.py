"""The losses of one epoch and the mixture fitted to them."""
