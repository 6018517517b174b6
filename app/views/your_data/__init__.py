"""Your data: upload images, check them, review suspicious labels, export the result."""
