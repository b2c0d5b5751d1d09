"""Simulators behind one contract; see `robustpo.environments.base`."""
