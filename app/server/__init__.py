"""What all visitors share: runs and their queue, visitors, uploads, storage."""
