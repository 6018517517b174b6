"""The loop over epochs, and the state between two of them."""
