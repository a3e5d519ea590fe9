"""What a run's model says of examples: of those that are given, or of some of the validation split."""
