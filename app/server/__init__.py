"""State of the server: runs and their queue, visitors, uploads, storage."""
