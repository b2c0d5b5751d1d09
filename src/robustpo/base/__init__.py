"""What every room stands on: files, checks, names, the registry, the terminal."""
