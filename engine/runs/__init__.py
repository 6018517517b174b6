"""A run on disk: its records, the runs it was forked from, and what was opened before."""
