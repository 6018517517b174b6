"""Uploaded data sets: checked and unpacked in separate processes, and stored."""
