"""What a run says: statistics, and what became of its labels; arrays and run folders in."""
