"""From a configuration to a record on disk: populations, rollouts, the training loop."""
