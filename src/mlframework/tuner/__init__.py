"""Searching the hyperparameters of a Python function: the same study as `ml-search`'s, with a trainer of its own."""
