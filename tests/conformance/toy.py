"""PPO and RPO on a bandit with contexts, with gradients by hand, and ways to get it wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from robustpo.conformance import Minibatch, Rollout, Trace

ROWS, EPOCHS, MINIBATCHES, OBSERVATIONS = 768, 3, 4, 3
RATE, CLIP = 0.05, 0.2

# What is wrong, and the check that has to say so.
MISTAKES = {
    "noise in the rollout": "first-rollout",
    "noise in the rollout, stored as if there were none": "rollout-actions",
    "stored under the perturbed policy": "stored-log-prob",
    "noise in evaluation": "evaluation",
    "denominator perturbed": "denominator",
    "added to the action too": "within-alpha",
    "gaussian": "within-alpha",
    "half as wide": "uniform",
    "one-sided": "uniform",
    "one draw for a minibatch": "fresh-rows",
    "one draw for two minibatches": "fresh-minibatches",
    "one draw for all epochs": "fresh-epochs",
    "frozen by place": "fresh-epochs",
    "reseeded in every iteration": "fresh-iterations",
    "one draw for all dimensions": "over-dimensions",
    "one draw for all learners": "over-learners",
    "forgotten": "first-moment",
    "on one dimension only": "second-moment",
    "gradient of the plain mean": "mean-gradient",
    "gradient of the plain deviation": "log-std-gradient",
    "alpha 0 shuffles otherwise": "alpha-zero",
    "not seeded": "same-seed",
    "drawn and not used": "alpha-acts",
    "divergence of the perturbed policy": "kl-control",
}


@dataclass
class Toy:
    """The subject; `mistake` is one of `MISTAKES` or empty."""

    mistake: str = ""
    unsupported: tuple[str, ...] = ()
    _frozen: dict = field(default_factory=dict)

    def train(self, alpha, seed, action_size, iterations, *, target_kl=None, learners=1):
        return _Training(self.mistake, alpha, seed, action_size, target_kl, learners).run(
            iterations
        )


class _Training:
    def __init__(self, mistake, alpha, seed, size, target_kl, learners):
        self.mistake, self.alpha, self.size = mistake, alpha or 0.0, size
        self.ppo = alpha is None
        self.target_kl, self.learners = target_kl, learners
        self.seed = None if mistake == "not seeded" and not self.ppo else seed
        self.world = np.random.default_rng([seed, 0])
        self.shuffling = np.random.default_rng([seed, 1])
        self.noises = self._noises()
        self.parameters = {
            "weight": 0.1 * self.world.normal(size=(OBSERVATIONS, size)),
            "bias": np.zeros(size),
            "log_std": np.zeros(size),
        }
        self.rollouts, self.minibatches, self.kept = [], [], {}

    def _noises(self):
        same = self.mistake == "one draw for all learners"
        words = [[] if self.seed is None else [self.seed, 2, 0 if same else i] for i in range(2)]
        return [np.random.default_rng(word or None) for word in words]

    def run(self, iterations):
        for iteration in range(iterations):
            if self.mistake == "reseeded in every iteration":
                self.noises = self._noises()
            rollouts = [self._collect(iteration, i) for i in range(self.learners)]
            self.rollouts += rollouts
            self._update(iteration, rollouts)
        return Trace(self.rollouts, self.minibatches, self.parameters, self._act, self._policy)

    def _policy(self, observations):
        mean = observations @ self.parameters["weight"] + self.parameters["bias"]
        return mean, np.broadcast_to(np.exp(self.parameters["log_std"]), mean.shape).copy()

    def _act(self, observations, deterministic):
        mean, std = self._policy(observations)
        if self.mistake == "noise in evaluation":
            mean = mean + self._uniform(mean.shape, 0)
        return mean if deterministic else self.world.normal(mean, std)

    def _uniform(self, shape, learner):
        noise = self.noises[learner]
        if self.mistake == "gaussian":
            return self.alpha / np.sqrt(3) * noise.normal(size=shape)
        low, high = -self.alpha, self.alpha
        if self.mistake == "one-sided":
            low = 0.0
        if self.mistake == "half as wide":
            low, high = low / 2, high / 2
        return noise.uniform(low, high, size=shape)

    def _collect(self, iteration, learner):
        observations = self.world.normal(size=(ROWS, OBSERVATIONS))
        mean, std = self._policy(observations)
        shifted = mean
        if self.mistake.startswith("noise in the rollout"):
            shifted = mean + self._uniform(mean.shape, learner)
        actions = self.world.normal(shifted, std)
        if self.mistake == "stored under the perturbed policy":
            shifted = mean + self._uniform(mean.shape, learner)
        if self.mistake == "noise in the rollout, stored as if there were none":
            shifted = mean
        stored = _log_prob(actions - shifted, std)
        return Rollout(observations, actions, stored, mean, std, iteration, learner)

    def _update(self, iteration, rollouts):
        stopped = False
        if self.mistake == "alpha 0 shuffles otherwise" and not self.ppo:
            self.shuffling.random()
        for epoch in range(EPOCHS):
            orders = [self.shuffling.permutation(ROWS) for _ in rollouts]
            for index in range(MINIBATCHES):
                gradients = []
                for learner, (rollout, order) in enumerate(zip(rollouts, orders, strict=True)):
                    rows = order[index * ROWS // MINIBATCHES : (index + 1) * ROWS // MINIBATCHES]
                    where = (iteration, epoch, index, learner)
                    gradient, kl, batch = self._minibatch(rollout, rows, where)
                    gradients.append(gradient)
                    stopped = stopped or (self.target_kl is not None and kl > 1.5 * self.target_kl)
                    self.minibatches.append(Minibatch(**batch, control=float(not stopped)))
                if stopped:
                    continue
                for name in self.parameters:
                    step = np.mean([one[name] for one in gradients], axis=0)
                    self.parameters[name] = self.parameters[name] + RATE * step

    def _draw(self, rows, where):
        iteration, epoch, index, learner = where
        shape = (len(rows), self.size)
        keys = {
            "one draw for two minibatches": (iteration, epoch, index // 2, learner),
            "frozen by place": ("place", index, learner),
        }
        key = keys.get(self.mistake)
        if key is not None:
            if key not in self.kept:
                self.kept[key] = self._uniform(shape, learner)
            return self.kept[key]
        if self.mistake == "one draw for all epochs":
            if (iteration, learner) not in self.kept:
                self.kept[iteration, learner] = self._uniform((ROWS, self.size), learner)
            return self.kept[iteration, learner][rows]
        if self.mistake == "one draw for a minibatch":
            return np.repeat(self._uniform((1, self.size), learner), len(rows), axis=0)
        if self.mistake == "one draw for all dimensions":
            return np.repeat(self._uniform((len(rows), 1), learner), self.size, axis=1)
        z = self._uniform(shape, learner)
        if self.mistake == "on one dimension only":
            z[:, 1:] = 0.0
        return z

    def _minibatch(self, rollout, rows, where):
        iteration, epoch, _, learner = where
        actions, observations = rollout.actions[rows], rollout.observations[rows]
        mean, std = self._policy(observations)
        z = np.zeros_like(mean)
        if self.alpha > 0:
            z = self._draw(rows, where)
        if self.mistake == "forgotten":
            z = np.zeros_like(mean)
        if self.mistake == "added to the action too":
            z = 2 * z
        old = rollout.log_prob[rows]
        if self.mistake == "denominator perturbed":
            shift = self._uniform(mean.shape, learner) if self.alpha else z
            old = _log_prob(actions - rollout.mean[rows] - shift, rollout.std[rows])
        away = actions - mean - z
        numerator = _log_prob(away, std)
        by_mean, by_log_std = away / std**2, away**2 / std**2 - 1
        if self.mistake == "gradient of the plain mean":
            by_mean = (actions - mean) / std**2
        if self.mistake == "gradient of the plain deviation":
            by_log_std = (actions - mean) ** 2 / std**2 - 1
        used = numerator
        if self.mistake == "drawn and not used":
            used, by = _log_prob(actions - mean, std), actions - mean
            weight = self._weight(rollout, rows, used - old)
            gradient = self._gradient(observations, weight, by / std**2, by**2 / std**2 - 1)
        else:
            weight = self._weight(rollout, rows, used - old)
            gradient = self._gradient(observations, weight, by_mean, by_log_std)
        seen = numerator if self.mistake == "divergence of the perturbed policy" else None
        plain = _log_prob(actions - mean, std) if seen is None else seen
        ratio = plain - rollout.log_prob[rows]
        batch = {
            "rows": rows,
            "log_prob": numerator,
            "old_log_prob": old,
            "mean": mean,
            "std": std,
            "iteration": iteration,
            "epoch": epoch,
            "learner": learner,
            "mean_gradient": by_mean,
            "log_std_gradient": by_log_std,
        }
        return gradient, float((np.exp(ratio) - 1 - ratio).mean()), batch

    def _weight(self, rollout, rows, log_ratio):
        """Return the gradient of the clipped surrogate by the log-density of each row."""
        target = np.sin(rollout.observations[rows].sum(-1, keepdims=True))
        reward = -((rollout.actions[rows] - target) ** 2).sum(-1)
        advantage = (reward - reward.mean()) / reward.std()
        ratio = np.exp(log_ratio)
        inside = np.where(advantage > 0, ratio < 1 + CLIP, ratio > 1 - CLIP)
        return advantage * ratio * inside

    @staticmethod
    def _gradient(observations, weight, by_mean, by_log_std):
        weighted = weight[:, None] * by_mean / len(weight)
        return {
            "weight": observations.T @ weighted,
            "bias": weighted.sum(0),
            "log_std": (weight[:, None] * by_log_std).mean(0),
        }


def _log_prob(away, std):
    return (-0.5 * (away / std) ** 2 - np.log(std) - 0.5 * np.log(2 * np.pi)).sum(-1)
