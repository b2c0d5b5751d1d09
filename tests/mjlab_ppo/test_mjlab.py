"""RPO in mjlab, on its own cart-pole, through rsl_rl."""

from dataclasses import asdict, dataclass

import mjlab.tasks  # noqa: F401
import pytest
import torch
from mjlab.envs import ManagerBasedRlEnv
from mjlab.rl import MjlabOnPolicyRunner, RslRlPpoAlgorithmCfg, RslRlVecEnvWrapper
from mjlab.tasks.registry import load_env_cfg, load_rl_cfg

pytestmark = pytest.mark.filterwarnings("default")


@dataclass
class RpoCfg(RslRlPpoAlgorithmCfg):
    """As the page on stacks has it."""

    class_name: str = "robustpo.integrations.rsl_rl:RPO"
    rpo_alpha: float = 0.5
    rpo_alpha_schedule: str = "constant"
    rpo_alpha_updates: int = 0


@pytest.fixture(scope="module")
def environment():
    config = load_env_cfg("Mjlab-Cartpole-Balance")
    config.scene.num_envs, config.seed = 64, 3
    made = RslRlVecEnvWrapper(ManagerBasedRlEnv(cfg=config, device="cpu"))
    yield made
    made.close()


def make(environment, folder, algorithm):
    torch.manual_seed(3)
    settings = load_rl_cfg("Mjlab-Cartpole-Balance")
    settings.algorithm, settings.logger = algorithm, "tensorboard"
    settings.upload_model = False
    return MjlabOnPolicyRunner(environment, asdict(settings), str(folder), "cpu")


def test_it_trains_saves_loads_and_acts(environment, tmp_path):
    schedule = {"rpo_alpha": 0.4, "rpo_alpha_schedule": "linear", "rpo_alpha_updates": 8}
    runner = make(environment, tmp_path, RpoCfg(**schedule))
    assert type(runner.alg).__module__ == "robustpo.integrations.rsl_rl"
    before = {name: x.clone() for name, x in runner.alg.get_policy().state_dict().items()}
    runner.learn(2)
    after = runner.alg.get_policy().state_dict()
    assert any(not torch.equal(x, before[name]) for name, x in after.items())
    assert runner.alg.rpo_alpha == pytest.approx(0.3)
    runner.save(str(tmp_path / "model.pt"))
    other = make(environment, tmp_path, RpoCfg(**schedule))
    other.load(str(tmp_path / "model.pt"))
    assert other.alg.rpo_alpha == pytest.approx(0.3)
    observations = environment.get_observations()
    policy, same = runner.get_inference_policy(), other.get_inference_policy()
    with torch.no_grad():
        assert torch.equal(policy(observations), same(observations))


def test_the_learning_rate_goes_by_the_plain_policy_and_alpha_zero_is_ppo(environment, tmp_path):
    rates, parameters = {}, {}
    kinds = {"ppo": RslRlPpoAlgorithmCfg(), "zero": RpoCfg(rpo_alpha=0.0), "rpo": RpoCfg()}
    for name, algorithm in kinds.items():
        environment.unwrapped.reset(seed=3)
        runner = make(environment, tmp_path, algorithm)
        rates[name] = []
        for _ in range(4):
            runner.learn(1)
            rates[name].append(runner.alg.learning_rate)
        found = runner.alg.get_policy().state_dict()
        parameters[name] = {key: x.clone() for key, x in found.items()}
    same = [torch.equal(x, parameters["zero"][key]) for key, x in parameters["ppo"].items()]
    assert all(same) and rates["zero"] == rates["ppo"]
    # By the divergence of the perturbed policy, 0.04 where 0.01 is asked for, it sank to 1e-5.
    assert min(rates["rpo"]) > 1e-4
