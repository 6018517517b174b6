"""All runs of this server."""
