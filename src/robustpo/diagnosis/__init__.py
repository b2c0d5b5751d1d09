"""The checks of `robustpo doctor`: what is installed, what the machine gives, what really works."""
