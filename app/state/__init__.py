"""What the visitor selected: the URL, the run, the epoch and the sample."""
