"""Vectors that speak PyTorch: strided tensors with gradients in, tensors out."""

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv

from robustpo.environments.batches import to_numpy
from robustpo.environments.vector import VectorEnvironment


class Tensors(VectorEnv):
    """Four counters in one tensor that is reused; they take tensors and nothing else."""

    num_envs = 4

    def __init__(self):
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space = spaces.Box(-100, 100, (2,), np.float32)
        self.single_action_space = spaces.Box(-1, 1, (1,), np.float32)
        self.observation_space = spaces.Box(-100, 100, (4, 2), np.float32)
        self.action_space = spaces.Box(-1, 1, (4, 1), np.float32)
        self.state = torch.zeros((2, 4))

    def reset(self, *, seed=None, options=None):
        self.state.zero_()
        return self.view(), {}

    def view(self):
        seen = self.state.T
        assert not seen.is_contiguous()
        return seen.clone(memory_format=torch.preserve_format).requires_grad_()

    def step(self, actions):
        assert isinstance(actions, torch.Tensor) and actions.dtype == torch.float32
        self.state += actions.T
        ended = self.state[0] >= 2
        final = self.view()
        self.state[:, ended] = 0
        half = final[:, 0].to(torch.bfloat16)
        return self.view(), half, torch.zeros(4, dtype=torch.bool), ended, {"final_obs": final}


def test_tensors_become_rows_and_actions_tensors():
    environment = VectorEnvironment(Tensors, [1, 2, 3, 4])
    first = environment.reset()
    action = np.array([[0.5], [1.0], [0.25], [-1.0]], np.float32)
    steps = [environment.step(action) for _ in range(4)]
    np.testing.assert_array_equal(first, np.zeros((4, 2)))
    # By hand: the second counter is at 1, 2 (and begins again), 1, 2.
    np.testing.assert_array_equal([s.obs[1, 0] for s in steps], [1, 0, 1, 0])
    np.testing.assert_array_equal([s.final_obs[1, 0] for s in steps], [1, 2, 1, 2])
    np.testing.assert_array_equal([s.truncated[1] for s in steps], [0, 1, 0, 1])
    np.testing.assert_array_equal([s.reward[0] for s in steps], [0.5, 1, 1.5, 2])
    np.testing.assert_array_equal([s.obs[3, 1] for s in steps], [-1, -2, -3, -4])


def test_tensors_of_any_kind_become_arrays():
    for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool):
        tensor = torch.tensor([[0, 1], [1, 0]], dtype=dtype)[:, 1]
        np.testing.assert_array_equal(to_numpy(tensor), [1, 0])
