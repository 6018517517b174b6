"""One sample at one epoch: how to find it, what became of it, and mixing by hand."""
