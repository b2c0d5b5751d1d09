"""What every room stands on: reading and writing files, checks, names, the registry, the terminal."""
