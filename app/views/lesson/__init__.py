"""Lesson: six steps, the runs and answers that a class shares, and the explanations."""
