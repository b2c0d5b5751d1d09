"""What trained policies are worth where something differs from training."""
