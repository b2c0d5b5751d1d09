"""The errors that a person who uses robustpo can cause and mend."""


class RobustpoError(Exception):
    """Base of every error that robustpo raises on purpose; its text is one clear line."""


class ConfigError(RobustpoError, ValueError):
    """A request that cannot be carried out as written (bad value, unknown name, no permission).

    The message states the offending value, what was expected and what to do. The command line
    prints it as one line and exits with code 2.
    """


class TrainingError(RobustpoError, RuntimeError):
    """Training started and could not go on (a simulator died, every agent diverged)."""
