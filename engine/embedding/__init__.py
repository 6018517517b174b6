"""Maps of features in two or three dimensions, computed in a process of their own."""
