"""Finding settings: which alpha, and what goes with it, for a task."""
