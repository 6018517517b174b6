"""Compare: several runs side by side at one epoch."""
