"""The paper's open questions, each answered by one command: python -m engine experiment NAME."""
