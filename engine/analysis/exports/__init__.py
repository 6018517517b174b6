"""A run's data set with its final labels, in the forms of other tools; see `forms.write`."""
