"""Start a run and watch it train."""
