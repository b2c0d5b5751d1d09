"""Runs on disk: their records, checkpoints, identity and locks."""
