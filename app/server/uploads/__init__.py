"""Uploads of strangers: checked, unpacked in a process of their own, stored."""
