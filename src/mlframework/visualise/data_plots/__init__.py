"""What a training sees: examples, how often each class comes, what the columns hold, and what the splits share."""
