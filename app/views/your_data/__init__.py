"""Your data: what strangers upload, what looks wrong in it, what people decided of it."""
