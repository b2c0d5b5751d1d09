"""RPO inside every stack is held to the suite, and PPO in its place does not pass."""

import pytest

from integrations.rsl_rl_subject import RslRl
from integrations.sb3_subject import Sb3
from integrations.skrl_subject import Skrl
from integrations.torchrl_subject import TorchRl
from robustpo.conformance import CHECKS, NotConforming, Runs

RUNS = {kind.__name__: Runs(kind()) for kind in (Sb3, RslRl, TorchRl, Skrl)}


@pytest.mark.parametrize("check", CHECKS, ids=str)
@pytest.mark.parametrize("stack", RUNS)
def test_rpo_conforms(stack, check):
    RUNS[stack].require(check)


class WithoutNoise:
    """A stack whose RPO forgets its noise."""

    def __init__(self, subject):
        self._subject, self.unsupported = subject, subject.unsupported

    def train(self, alpha, *arguments, **options):
        return self._subject.train(None, *arguments, **options)


@pytest.mark.parametrize("stack", RUNS)
def test_ppo_does_not(stack):
    runs = Runs(WithoutNoise(RUNS[stack].subject))
    failed = set()
    for check in CHECKS:
        if check.needs in runs.subject.unsupported:
            continue
        try:
            check.look(runs)
        except NotConforming:
            failed.add(check.name)
    assert failed >= {"uniform", "first-moment", "second-moment", "alpha-acts"}
    assert "stored-log-prob" not in failed and "evaluation" not in failed
