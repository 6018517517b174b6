"""Interprets runs: summaries, statistics, diagnoses and label issues."""
