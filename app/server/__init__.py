"""What all visitors share: runs, uploads, decisions, access."""
