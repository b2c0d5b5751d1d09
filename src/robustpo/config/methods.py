"""The methods by name: each a bundle of settings and shape; `ppo` is `rpo` with alpha 0."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from robustpo.base.registry import Kind


@dataclass(frozen=True)
class Method:
    """A named bundle of settings and shape.

    Attributes:
        name: what it is called on the command line and in directories.
        source: where it is described: a section of the paper (arXiv 2212.07536), another paper, or
            `control` for what only serves to tell parts of the method apart.
        summary: what it is, in one line.
        overrides: what differs from the defaults of `Settings` and `Shape`.
        also: what an option that the method sets by its name may be instead, by option.
        never: what an option may not be, because the method would be another without it.
    """

    name: str
    source: str
    summary: str
    overrides: dict[str, Any]
    also: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    never: dict[str, Any] = field(default_factory=dict)

    @property
    def fixed(self) -> dict[str, tuple[Any, ...]]:
        """What the method is by definition: the values that an option may have, by option.

        That is what it chooses by name (a distribution, an estimator, where the noise acts), and
        that nothing is perturbed if it sets alpha to 0. Its other numbers are where it starts from.
        """
        own = {k: (v, *self.also.get(k, ())) for k, v in self.overrides.items() if type(v) is str}
        return own | (_UNPERTURBED if self.overrides.get("alpha") == 0 else {})


_PLAIN = {"alpha": 0.0}
_UNPERTURBED = {"alpha": (0.0,), "noise_location": (0.0,)}

_BUILTINS = {
    method.name: method
    for method in (
        Method("rpo", "Algorithm 1", "Robust Policy Optimization, alpha 0.5", {}),
        Method("ppo", "section 5.1", "Proximal Policy Optimization: rpo with alpha 0", _PLAIN),
        Method(
            "ppo-entropy",
            "section 5.3",
            "PPO with an entropy bonus, coefficient 0.01",
            {**_PLAIN, "entropy_coef": 0.01},
            never={"entropy_coef": 0.0},
        ),
        Method(
            "rpo-annealed",
            "section 6.2",
            "RPO with alpha annealed linearly from 0.5 to 0",
            {"alpha_schedule": "linear"},
            also={"alpha_schedule": ("cosine",)},
        ),
        Method(
            "rad-ppo",
            "appendix E, L",
            "PPO on randomly scaled observations (RAD, arXiv 2004.14990)",
            {**_PLAIN, "augmentation": "rad"},
        ),
        Method(
            "drac-ppo",
            "appendix E, L",
            "PPO regularised towards its outputs on unscaled observations (DrAC, arXiv 2006.12862)",
            {**_PLAIN, "augmentation": "drac"},
            never={"drac_coef": 0.0},
        ),
        Method(
            "ppo-laplace",
            "section 6.3, appendix I",
            "PPO with a Laplace policy",
            {**_PLAIN, "distribution": "laplace"},
        ),
        Method(
            "rpo-laplace",
            "section 6.3, appendix I",
            "RPO with a Laplace policy",
            {"distribution": "laplace"},
        ),
        Method(
            "ppo-gumbel",
            "section 6.3, appendix I",
            "PPO with a Gumbel policy",
            {**_PLAIN, "distribution": "gumbel"},
        ),
        Method(
            "rpo-gumbel",
            "section 6.3, appendix I",
            "RPO with a Gumbel policy",
            {"distribution": "gumbel"},
        ),
        Method(
            "ppo-tanh",
            "baseline",
            "PPO with a tanh-squashed Gaussian policy",
            {**_PLAIN, "distribution": "tanh-gaussian"},
        ),
        Method(
            "rpo-tanh",
            "beyond the paper",
            "RPO with a tanh-squashed Gaussian policy, shifted before the squashing",
            {"distribution": "tanh-gaussian"},
        ),
        Method(
            "ppo-beta",
            "baseline",
            "PPO with a Beta policy, which has no location to shift",
            {**_PLAIN, "distribution": "beta", "noise": "none"},
        ),
        Method(
            "rpo-sampled-k",
            "section 4.2",
            "RPO with the clipped losses of 4 draws averaged",
            {"estimator": "sampled-k"},
        ),
        Method(
            "rpo-marginal",
            "eq. 5",
            "RPO with the exact density of the perturbed policy in the ratio",
            {"estimator": "marginal"},
        ),
        Method(
            "rpo-expected",
            "eq. 13",
            "RPO with the expected log-density in the ratio: the penalty alpha²/(6 sigma²)",
            {"estimator": "expected"},
        ),
        Method(
            "rpo-parameters",
            "appendix C",
            "the loss smoothed over uniform noise on all parameters, alpha 0.01",
            {"noise_on": "parameters", "alpha": 0.01},
        ),
        Method(
            "ppo-std-floor",
            "control",
            "PPO whose log standard deviation does not fall below −1",
            {**_PLAIN, "log_std_min": -1.0},
            never={"log_std_min": None},
        ),
        Method(
            "ppo-noisy-collection",
            "control",
            "the noise of RPO in collection instead of the update",
            {"noise_in": "collection"},
        ),
        Method(
            "rpo-both",
            "control",
            "the noise of RPO in collection and in the update",
            {"noise_in": "both"},
        ),
    )
}
METHODS: Kind[Method] = Kind("method", _BUILTINS, of="robustpo.config.methods:Method")
