"""Drawing studies, runs, data and predictions. Every plot is computed first (plain data), then drawn (a figure)."""
