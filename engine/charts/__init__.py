"""Charts: arrays in, a Plotly figure out."""
