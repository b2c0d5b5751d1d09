"""The paper's equations checked on trained agents (`robustpo theory`)."""
