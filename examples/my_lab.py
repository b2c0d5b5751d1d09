"""Everything that can be added to robustpo without touching it, once each, to copy from.

    robustpo train Pendulum-v1 --noise my_lab:student

Names in here are used as `my_lab:name`; the file lies in the working directory or is installed.
docs/extending.md says what each needs.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from robustpo import (
    ActionDistribution,
    DistributionFamily,
    Estimator,
    LossTerm,
    Method,
    Network,
    NoiseFamily,
    Schedule,
)
from robustpo.algorithm.perturbation import perturb

# A noise family: Student's t with 5 degrees of freedom, heavier in its tails than the Gaussian.
# Mean and variance are what the estimator `expected` takes; without `smoothed` there is no
# closed form for `marginal`, and asking for it is refused.
student = NoiseFamily(
    lambda size, *, key: jax.random.t(key, 5.0, size), mean=0.0, variance=5.0 / 3.0
)


def antithetic_log_prob(policy, action, coefficients, shape, *, key):
    """Return the log-densities `[2, B]` under one draw of the noise and under its mirror image."""
    one = perturb(policy, coefficients, key=key, noise=shape.update_noise)
    other = policy.shift(policy.mode() - one.mode())
    return jnp.stack([one.log_prob(action), other.log_prob(action)])


# An estimator of the perturbed log-density: its clipped losses are averaged over the first axis.
antithetic = Estimator(antithetic_log_prob)


def action_size(params, policy, value, batch, coefficients, shape, *, key):
    """Return the squared length of the mean action of every row, `[B]`."""
    return (policy.mode() ** 2).sum(-1)


# A loss term: per row, weighted by `--loss-weights`.
action_l2 = LossTerm(action_size)

# A schedule: a factor at the share of the updates that are done, here for alpha alone.
steps = Schedule(lambda progress: 0.5 ** int(4 * progress), of=("alpha",))

# A method: what differs from the defaults. What it chooses by name it is by definition.
mine = Method(
    "mine", "our group", "RPO with Student's t noise", {"noise": "my_lab:student", "alpha": 0.2}
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Logistic(ActionDistribution):
    """Logistic distribution per dimension: location `[*B, A]`, log scale `[A]`."""

    location: jax.Array
    log_scale: jax.Array

    build = classmethod(lambda cls, outputs, log_scale: cls(outputs, log_scale))
    noise = classmethod(lambda cls, size, *, key: jax.random.logistic(key, size))
    execute = classmethod(lambda cls, raw, low, high: jnp.clip(raw, low, high))
    mode = lambda self: self.location  # noqa: E731
    sample = lambda self, noise: self.location + jnp.exp(self.log_scale) * noise  # noqa: E731
    shift = lambda self, offset: Logistic(self.location + offset, self.log_scale)  # noqa: E731

    def log_prob(self, action):
        """Return `Σ −x − 2 log(1 + exp(−x)) − log s` at `x = (a − μ)/s`."""
        x = (action - self.location) * jnp.exp(-self.log_scale)
        return (-x - 2 * jax.nn.softplus(-x) - self.log_scale).sum(-1)

    def entropy(self):
        """Return `Σ log s + 2`."""
        return jnp.broadcast_to(self.log_scale + 2.0, self.location.shape).sum(-1)

    def std(self):
        """Return `π s/√3`."""
        return jnp.broadcast_to(
            jnp.pi / jnp.sqrt(3.0) * jnp.exp(self.log_scale), self.location.shape
        )

    def kl(self, other):
        """Raise: there is no closed form, which `diverges=False` says below."""
        raise NotImplementedError


def act_logistic(outputs, log_scale, rng):
    """Act without JAX: the mode, or a sample."""
    return (
        outputs if rng is None else outputs + np.exp(log_scale) * rng.logistic(size=outputs.shape)
    )


# An action distribution: its class, its NumPy twin, and what it cannot do.
logistic = DistributionFamily(Logistic, act_logistic, diverges=False)


def init_residual(inputs, outputs, *, rng):
    """Return the parameters of one residual block of 32 units between two affine maps."""
    widths = {"enter": (inputs, 32), "inner": (32, 32), "leave": (32, outputs)}
    weights = {name: rng.normal(size=size) / size[0] ** 0.5 for name, size in widths.items()}
    return weights | {"leave": 0.1 * weights["leave"], "bias": np.zeros(outputs)}


def residual_in(xp):
    """Return the network, computed by `jax.numpy` or by `numpy`."""

    def apply(parameters, obs):
        features = xp.tanh(obs @ parameters["enter"])
        features = features + xp.tanh(features @ parameters["inner"])
        return features @ parameters["leave"] + parameters["bias"]

    return apply


# A network: actor and critic get one each. `act` lets a policy act without JAX.
residual = Network(init_residual, residual_in(jnp), act=residual_in(np))
