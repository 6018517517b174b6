"""The lesson: its steps, the runs and answers that a class shares, and what came out."""
