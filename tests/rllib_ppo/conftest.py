"""These tests have an environment of their own: `make test-stacks`."""

from importlib.util import find_spec

# RLlib needs it, and nothing else here does.
collect_ignore_glob = ["*.py"] if find_spec("ormsgpack") is None else []
