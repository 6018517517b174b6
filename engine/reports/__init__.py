"""A run to look at without a server: its recording, the player, one HTML file."""
