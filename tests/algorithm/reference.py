"""The update a second time: plain NumPy in float64, loops, and derivatives written out by hand.

Parameters are the leaves of `AgentParams` in its order: weights and biases of the actor, the log
standard deviation, weights and biases of the critic. Networks are tanh. A batch is a dictionary.
"""

import itertools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from robustpo.algorithm.experience import Batch, Coefficients
from robustpo.algorithm.networks import AgentParams, Dense
from robustpo.algorithm.objective import normalize_advantage

FLAGS = ("alpha_relative", "bootstrap", "return_goes_on")
HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)


def coefficients(**changed):
    """Return the paper's coefficients, with some changed."""
    numbers = {
        "alpha": 0.5,
        "noise_location": 0.0,
        "entropy_coef": 0.0,
        "log_std_min": -np.inf,
        "drac_coef": 0.1,
        "scale_low": 0.6,
        "scale_high": 1.2,
        "learning_rate": 3e-4,
        "kl_target": 0.008,
        "reward_scale": 1.0,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "clip_coef": 0.2,
        "value_coef": 0.5,
        "max_grad_norm": 0.5,
        "target_kl": np.inf,
    } | {name: value for name, value in changed.items() if name not in FLAGS}
    arrays = {name: jnp.float32(value) for name, value in numbers.items()}
    flags = {name: jnp.asarray(changed.get(name, False)) for name in FLAGS}
    weights = jnp.zeros(0, jnp.float32)
    return Coefficients(**arrays, **flags, loss_weights=weights)


def random_params(observation_size, action_size, hidden_sizes, *, seed):
    """Return parameters far from their initialisation, so that every part has a gradient."""
    rng = np.random.default_rng(seed)

    def network(*sizes):
        return tuple(
            Dense(
                jnp.float32(rng.normal(size=(n_in, n_out)) / np.sqrt(n_in)),
                jnp.float32(0.3 * rng.normal(size=n_out)),
            )
            for n_in, n_out in itertools.pairwise(sizes)
        )

    return AgentParams(
        actor=network(observation_size, *hidden_sizes, action_size),
        log_std=jnp.float32(0.3 * rng.normal(size=action_size)),
        critic=network(observation_size, *hidden_sizes, 1),
    )


def random_batch(params, rows, *, seed, invalid=0) -> dict[str, np.ndarray]:
    """Return rows near the policy's own: ratios and value changes lie on both sides of a clip."""
    rng = np.random.default_rng(seed)
    leaves = to_leaves(params)
    obs = rng.normal(size=(rows, leaves[0].shape[0])).astype(np.float32)
    location, log_std, value = evaluate(leaves, obs)
    action = location + np.exp(log_std) * rng.normal(size=location.shape)
    batch = {
        "obs": obs,
        "action": action,
        "log_prob": log_density(location, log_std, action) + 0.25 * rng.normal(size=rows),
        "value": value + 0.3 * rng.normal(size=rows),
        "advantage": 2.0 + 3.0 * rng.normal(size=rows),
        "value_target": value + rng.normal(size=rows),
    }
    batch = {name: np.asarray(x, np.float32) for name, x in batch.items()}
    batch["valid"] = np.ones(rows, bool)
    batch["valid"][rng.choice(rows, invalid, replace=False)] = False
    return batch


def to_batch(batch):
    """Turn a dictionary of NumPy arrays into what the package learns from."""
    arrays: dict[str, Any] = {name: jnp.asarray(x) for name, x in batch.items()}
    return Batch(**arrays)


def to_minibatch(batch):
    """The same with its advantages normalised, as the objective takes it."""
    minibatch = to_batch(batch)
    scores = normalize_advantage(minibatch.advantage, minibatch.valid)
    return replace(minibatch, advantage=scores)


def to_leaves(params):
    """Return the parameters as float64 arrays."""
    return [np.asarray(x, np.float64) for x in jax.tree.leaves(params)]


def split_leaves(leaves):
    """Return the actor's layers, the log standard deviation and the critic's layers."""
    middle = len(leaves) // 2
    return leaves[:middle], leaves[middle], leaves[middle + 1 :]


def network(layers, x):
    """Return the inputs of every layer and the output of the last."""
    inputs = [np.asarray(x, np.float64)]
    for i in range(0, len(layers) - 2, 2):
        inputs.append(np.tanh(inputs[-1] @ layers[i] + layers[i + 1]))
    return inputs, inputs[-1] @ layers[-2] + layers[-1]


def network_gradient(layers, inputs, output_gradient):
    """Return the derivatives of a sum by every weight and bias (back-propagation)."""
    gradient = []
    for i in range(len(layers) - 2, -1, -2):
        x = inputs[i // 2]
        gradient = [x.T @ output_gradient, output_gradient.sum(0), *gradient]
        output_gradient = (output_gradient @ layers[i].T) * (1 - x**2)
    return gradient


def evaluate(leaves, obs):
    """Return location, log standard deviation and value."""
    actor, log_std, critic = split_leaves(leaves)
    return network(actor, obs)[1], log_std, network(critic, obs)[1][:, 0]


def log_density(location, log_std, action):
    """Return the log-density of a diagonal normal distribution."""
    standardised = (action - location) / np.exp(log_std)
    return (-0.5 * standardised**2 - log_std - HALF_LOG_2PI).sum(-1)


def normalized(advantage, valid):
    """Return the standard scores of the valid rows (ddof 1), 0 elsewhere."""
    chosen = advantage[valid]
    scores = np.zeros(len(advantage))
    scores[valid] = (chosen - chosen.mean()) / (chosen.std(ddof=1) + 1e-8)
    return scores


def loss(leaves, batch, z, numbers, *, clip_value_loss=True, normalize_advantages=True):
    """Return the loss of one minibatch, row by row, and its parts."""
    location, log_std, value = evaluate(leaves, batch["obs"])
    valid, clip = batch["valid"], float(numbers.clip_coef)
    rows = {name: np.asarray(x, np.float64) for name, x in batch.items()}
    advantage = rows["advantage"]
    if normalize_advantages:
        advantage = normalized(advantage, valid)
    plain_log_prob = log_density(location, log_std, rows["action"])
    new_log_prob = log_density(location + z, log_std, rows["action"])
    names = ("policy_loss", "value_loss", "approx_kl", "perturbed_kl", "clip_fraction")
    parts = {name: [] for name in names}
    for i in np.flatnonzero(valid):
        ratio = np.exp(new_log_prob[i] - rows["log_prob"][i])
        limited = min(max(ratio, 1 - clip), 1 + clip)
        parts["policy_loss"].append(-min(advantage[i] * ratio, advantage[i] * limited))
        error = (value[i] - rows["value_target"][i]) ** 2
        if clip_value_loss:
            change = min(max(value[i] - rows["value"][i], -clip), clip)
            error = max(error, (rows["value"][i] + change - rows["value_target"][i]) ** 2)
        parts["value_loss"].append(0.5 * error)
        parts["perturbed_kl"].append(ratio - 1 - np.log(ratio))
        plain_ratio = np.exp(plain_log_prob[i] - rows["log_prob"][i])
        parts["approx_kl"].append(plain_ratio - 1 - np.log(plain_ratio))
        parts["clip_fraction"].append(float(abs(ratio - 1) > clip))
    means = {name: np.mean(part) for name, part in parts.items()}
    means["entropy"] = (log_std + 0.5 + HALF_LOG_2PI).sum()
    total = (
        means["policy_loss"]
        - float(numbers.entropy_coef) * means["entropy"]
        + float(numbers.value_coef) * means["value_loss"]
    )
    return total, means


def loss_gradient(leaves, batch, z, numbers):
    """Return the derivatives of `loss` with clipped value loss and normalised advantages."""
    actor, log_std, critic = split_leaves(leaves)
    actor_inputs, location = network(actor, batch["obs"])
    critic_inputs, value = network(critic, batch["obs"])
    value, valid, clip = value[:, 0], batch["valid"], float(numbers.clip_coef)
    rows = {name: np.asarray(x, np.float64) for name, x in batch.items()}
    share = valid / valid.sum()
    advantage = normalized(rows["advantage"], valid)

    deviation = rows["action"] - location - z
    ratio = np.exp(log_density(location + z, log_std, rows["action"]) - rows["log_prob"])
    too_far = np.where(advantage > 0, ratio > 1 + clip, ratio < 1 - clip)
    by_log_prob = np.where(too_far, 0.0, -advantage * ratio) * share
    variance = np.exp(2 * log_std)
    by_location = by_log_prob[:, None] * deviation / variance
    by_log_std = (by_log_prob[:, None] * (deviation**2 / variance - 1)).sum(0)
    by_log_std -= float(numbers.entropy_coef)

    error = value - rows["value_target"]
    change = value - rows["value"]
    near_error = rows["value"] + np.clip(change, -clip, clip) - rows["value_target"]
    stuck = (np.abs(change) > clip) & (near_error**2 > error**2)
    by_value = np.where(stuck, 0.0, error) * share * float(numbers.value_coef)
    return [
        *network_gradient(actor, actor_inputs, by_location),
        by_log_std,
        *network_gradient(critic, critic_inputs, by_value[:, None]),
    ]


class Adam:
    """Adam (arXiv 1412.6980) on gradients whose global norm is clipped."""

    def __init__(self, leaves, learning_rate, max_grad_norm, epsilon=1e-5):
        self.learning_rate, self.max_grad_norm, self.epsilon = learning_rate, max_grad_norm, epsilon
        self.first = [np.zeros_like(x) for x in leaves]
        self.second = [np.zeros_like(x) for x in leaves]
        self.count = 0

    def step(self, leaves, gradient):
        norm = np.sqrt(sum((g**2).sum() for g in gradient))
        scale = min(1.0, self.max_grad_norm / norm)
        self.count += 1
        moved = []
        for i, (x, g) in enumerate(zip(leaves, gradient, strict=True)):
            self.first[i] = 0.9 * self.first[i] + 0.1 * scale * g
            self.second[i] = 0.999 * self.second[i] + 0.001 * (scale * g) ** 2
            mean = self.first[i] / (1 - 0.9**self.count)
            root = np.sqrt(self.second[i] / (1 - 0.999**self.count))
            moved.append(x - self.learning_rate * mean / (root + self.epsilon))
        return moved, norm


def update(leaves, batch, orders, noises, numbers):
    """Take every minibatch step of an update, up to the epoch whose plain KL passes the target.

    Args:
        leaves: parameters before.
        batch: rows of the whole rollout.
        orders: the shuffled rows of each epoch, `[epochs, rows]`.
        noises: the perturbation of every minibatch, `[epochs, minibatches, B, A]`.
        numbers: coefficients.
    """
    adam = Adam(leaves, float(numbers.learning_rate), float(numbers.max_grad_norm))
    metrics = {}
    for order, epoch_noises in zip(orders, noises, strict=True):
        reported = []
        for chosen, z in zip(order.reshape(len(epoch_noises), -1), epoch_noises, strict=True):
            minibatch = {name: x[chosen] for name, x in batch.items()}
            means = loss(leaves, minibatch, z, numbers)[1]
            leaves, norm = adam.step(leaves, loss_gradient(leaves, minibatch, z, numbers))
            reported.append(means | {"grad_norm": norm})
        metrics = {name: np.mean([means[name] for means in reported]) for name in reported[0]}
        if metrics["approx_kl"] > float(numbers.target_kl):
            break
    return leaves, metrics


def advantages(reward, value, next_value, terminated, truncated, *, gamma, lam, bootstrap):
    """Return generalised advantages of one environment from their definition, a double loop."""
    steps = len(reward)
    deltas = np.zeros(steps)
    for t in range(steps):
        cut = terminated[t] or (truncated[t] and not bootstrap)
        deltas[t] = reward[t] + (0.0 if cut else gamma * next_value[t]) - value[t]
    result = np.zeros(steps)
    for t in range(steps):
        for k in range(t, steps):
            result[t] += (gamma * lam) ** (k - t) * deltas[k]
            if terminated[k] or truncated[k]:
                break
    return result
