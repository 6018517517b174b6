"""Label noise, class-dependent and instance-dependent: given labels and transition matrix."""
