"""What all visitors share: runs, their files and the server's own records."""
