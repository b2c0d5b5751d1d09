"""Trained policies, which act with NumPy alone."""
