"""RPO in Stable-Baselines3 as its users use it."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv

from integrations import sb3_subject
from integrations.bandit import Bandit
from integrations.sb3_subject import Sb3, Watched, WatchedUpdate
from robustpo.conformance import NotConforming, Runs
from robustpo.conformance.update import kl_control
from robustpo.errors import ConfigError
from robustpo.integrations import sb3
from robustpo.integrations.sb3 import RPO, RecurrentRPO
from robustpo.policy.policy import Policy

SMALL = {"n_steps": 64, "batch_size": 32, "n_epochs": 2, "seed": 3, "device": "cpu"}


class Pictures(Bandit):
    """The bandit with pictures, or with a dictionary, to look at."""

    def __init__(self, as_dict=False):
        super().__init__()
        self.picture = spaces.Box(0, 255, (36, 36, 3), np.uint8)
        self.as_dict = as_dict
        plain = self.observation_space
        self.observation_space = (
            spaces.Dict({"picture": self.picture, "vector": plain}) if as_dict else self.picture
        )

    def _draw(self):
        vector = super()._draw()
        picture = self.np_random.integers(0, 256, (36, 36, 3)).astype(np.uint8)
        return {"picture": picture, "vector": vector} if self.as_dict else picture


class Discrete(Bandit):
    """A bandit of two arms."""

    def __init__(self):
        super().__init__()
        self.action_space = spaces.Discrete(2)


def parameters(model):
    return {name: x.clone() for name, x in model.policy.state_dict().items()}


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert torch.equal(array, other[name]), name


@pytest.mark.parametrize(
    ("kinds", "policy", "env", "options"),
    [
        ((PPO, RPO), "MlpPolicy", Bandit, {}),
        ((PPO, RPO), "MlpPolicy", Bandit, {"target_kl": 0.01}),
        ((PPO, RPO), "MlpPolicy", Bandit, {"policy_kwargs": {"share_features_extractor": False}}),
        ((PPO, RPO), "CnnPolicy", Pictures, {}),
        ((PPO, RPO), "MultiInputPolicy", lambda: Pictures(as_dict=True), {}),
        ((PPO, RPO), "MlpPolicy", Bandit, {"use_sde": True}),
        (
            (PPO, RPO),
            "MlpPolicy",
            Bandit,
            {"use_sde": True, "policy_kwargs": {"squash_output": True}},
        ),
        ((RecurrentPPO, RecurrentRPO), "MlpLstmPolicy", Bandit, {}),
    ],
    ids=["mlp", "kl", "unshared", "cnn", "dict", "gsde", "squashed", "recurrent"],
)
def test_alpha_zero_is_ppo_bit_for_bit_and_alpha_is_not(kinds, policy, env, options):
    plain, rpo = kinds
    wanted = plain(policy, env(), **SMALL, **options).learn(128)
    found = rpo(policy, env(), alpha=0.0, **SMALL, **options).learn(128)
    assert_equal(parameters(wanted), parameters(found))
    name = "train/approx_kl"
    assert found.logger.name_to_value[name] == wanted.logger.name_to_value[name]
    moved = parameters(rpo(policy, env(), alpha=0.5, **SMALL, **options).learn(128))
    assert any(not torch.equal(x, moved[key]) for key, x in parameters(found).items())


def test_it_is_saved_loaded_and_goes_on(tmp_path):
    model = RPO("MlpPolicy", Bandit(), alpha=0.3, **SMALL).learn(128)
    model.save(tmp_path / "model")
    loaded = RPO.load(tmp_path / "model", env=Bandit())
    assert loaded.alpha == 0.3
    observation = np.ones(3, np.float32)
    wanted, _ = model.predict(observation, deterministic=True)
    found, _ = loaded.predict(observation, deterministic=True)
    np.testing.assert_array_equal(found, wanted)
    assert_equal(parameters(model), parameters(loaded))
    loaded.learn(128, reset_num_timesteps=False)
    assert loaded.num_timesteps == 256


def test_a_schedule_is_a_function_of_what_is_left(tmp_path):
    seen = []

    class Alphas(BaseCallback):
        def _on_step(self):
            return True

        def _on_rollout_start(self):
            seen.append(self.logger.name_to_value.get("train/alpha"))

    model = RPO("MlpPolicy", Bandit(), alpha=lambda left: 0.5 * left, **SMALL)
    model.learn(256, callback=Alphas())
    # Updates begin with three, two, one and no quarters left.
    assert model.logger.name_to_value["train/alpha"] == 0.0
    model.save(tmp_path / "model")
    assert RPO.load(tmp_path / "model").alpha(0.5) == 0.25
    with pytest.raises(ConfigError, match=r"alpha\(0.75\)=-1.0 is not valid"):
        RPO("MlpPolicy", Bandit(), alpha=lambda left: -1, **SMALL).learn(256)


def test_the_log_is_named_for_it(tmp_path):
    pytest.importorskip("tensorboard")
    model = RPO(
        "MlpPolicy", Bandit(), alpha=np.float32(0.5), tensorboard_log=str(tmp_path), **SMALL
    )
    model.learn(64)
    # As PPO takes them by position.
    model.learn(64, None, 1, "mine")
    assert {path.name for path in tmp_path.iterdir()} == {"RPO_1", "mine_1"}


class Bypassing(ActorCriticPolicy):
    """Takes its mean from elsewhere."""

    def _get_action_dist_from_latent(self, latent_pi):
        mean = latent_pi @ self.action_net.weight.T + self.action_net.bias
        return self.action_dist.proba_distribution(mean, self.log_std)


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="Discrete"):
        RPO("MlpPolicy", Discrete(), **SMALL)
    for alpha in (-0.5, float("nan"), "linear"):
        with pytest.raises(ConfigError, match="alpha="):
            RPO("MlpPolicy", Bandit(), alpha=alpha, **SMALL)
    model = RPO(Bypassing, Bandit(), **SMALL)
    before = parameters(model)
    with pytest.raises(ConfigError, match="does not take its mean from action_net"):
        model.learn(64)
    # Nothing was learned that would not be RPO.
    assert_equal(before, parameters(model))


def test_an_interrupted_update_leaves_the_policy_plain():
    model = RPO("MlpPolicy", Bandit(), target_kl=0.01, **SMALL)
    model.learn(64)
    step = model.policy.optimizer.step

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    model.policy.optimizer.step = interrupted
    with pytest.raises(KeyboardInterrupt):
        model.train()
    model.policy.optimizer.step = step
    assert model.target_kl == 0.01 and not model.policy.action_net._forward_hooks
    assert "evaluate_actions" not in vars(model.policy)
    assert "get" not in vars(model.rollout_buffer)
    model.learn(64)


class Naive(WatchedUpdate, PPO):
    """The mean is shifted in the update, and so the divergence that steers it sees the noise."""

    def __init__(self, *arguments, alpha, **options):
        super().__init__(*arguments, **options)
        self.alpha = alpha

    def train(self):
        def shift(module, inputs, mean):
            return mean + self.alpha * (2 * torch.rand_like(mean) - 1)

        hook = self.policy.action_net.register_forward_hook(shift)
        super().train()
        hook.remove()


def test_without_the_plain_divergence_control_stops_every_update(monkeypatch):
    assert "1 with noise" in kl_control(Runs(Sb3()))
    monkeypatch.setattr(sb3_subject, "WatchedRPO", Naive)
    with pytest.raises(NotConforming, match="it sees the noise"):
        kl_control(Runs(Sb3()))
    assert Watched.watcher is None and sb3.RPO is RPO


def test_a_policy_of_robustpo_is_evaluated_by_it_like_a_model():
    tensors = {
        "actor.0.weight": np.array([[0.5], [-1.0], [-0.3]], np.float32),
        "actor.0.bias": np.zeros(1, np.float32),
        "log_std": np.zeros(1, np.float32),
        "action.low": np.array([-2.0], np.float32),
        "action.high": np.array([2.0], np.float32),
    }
    policy = Policy(tensors, {"activation": "tanh", "distribution": "gaussian"})
    envs = DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")])
    envs.seed(7)
    mean, _ = evaluate_policy(policy, envs, n_eval_episodes=1, warn=False)
    # The same episode by hand.
    env = gymnasium.make("Pendulum-v1")
    obs, _ = env.reset(seed=7)
    total = 0.0
    for _ in range(200):
        obs, reward, *_ = env.step(policy(obs))
        total += float(reward)
    assert mean == pytest.approx(total, rel=1e-4)
