"""Learners: what can train for an epoch, be evaluated, and give and take its state."""
