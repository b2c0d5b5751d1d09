"""Comparisons: grids of runs, their execution on this machine, and the store of results."""
