"""Sample: one image of a run at one epoch, its history, and mixing by hand."""
