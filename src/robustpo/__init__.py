"""Robust Policy Optimization, trained as populations of agents."""
