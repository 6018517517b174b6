"""What an epoch costs, stage by stage, beside plain cross-entropy and the reference code's way."""
