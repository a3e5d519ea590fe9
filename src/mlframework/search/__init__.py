"""Searching hyperparameters: a trial is a config, trained by the one trainer."""
