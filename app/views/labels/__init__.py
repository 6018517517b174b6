"""What correction did to the labels of a run."""
