"""Noise models: labels in, given labels and transition matrix out."""
