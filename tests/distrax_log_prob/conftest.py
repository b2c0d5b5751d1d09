"""These tests have an environment of their own: `make test-stacks`."""

from importlib.util import find_spec

collect_ignore_glob = ["*.py"] if find_spec("distrax") is None else []
