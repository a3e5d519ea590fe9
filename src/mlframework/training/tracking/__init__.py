"""Trackers: callbacks that record a run somewhere else."""
