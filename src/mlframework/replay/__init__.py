"""Training a run again from what it stored, and comparing the two epoch by epoch."""
