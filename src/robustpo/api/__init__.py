"""The Python interface: the same words as on the command line."""
