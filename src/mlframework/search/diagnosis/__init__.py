"""What went wrong in a study, and what to change in the next one: one kind of trouble a module."""
