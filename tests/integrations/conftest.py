"""These tests have an environment of their own: `make test-integrations`."""

from importlib.util import find_spec

collect_ignore_glob = ["*.py"] if find_spec("stable_baselines3") is None else []
