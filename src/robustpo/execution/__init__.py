"""Training runs in processes, here or on a cluster."""
