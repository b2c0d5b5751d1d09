"""Policies in the formats that run where there is no Python, or no robustpo."""
