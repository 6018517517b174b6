"""Labels: what correction did to the labels of a run."""
