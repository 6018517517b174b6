"""Spoiled labels, and a transition matrix of one's own."""
