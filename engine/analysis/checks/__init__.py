"""What may be wrong with a labeled data set: one report of many checks."""
