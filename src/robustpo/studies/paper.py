"""Every experiment of the paper (arXiv 2212.07536) as a study, named after its figure or table.

Where the paper's text does not list the tasks of a figure, those are taken that its text and
captions name for that comparison; each study's note says so.
"""

from __future__ import annotations

import difflib

from robustpo.config.published import CLEANRL, TABLE_3, published_tables
from robustpo.environments.catalog import CATALOG
from robustpo.errors import ConfigError
from robustpo.studies.study import Part, Study

ENTROPY_COEFFICIENTS = (0.0, 0.01, 0.05, 0.5, 1.0, 10.0)
ALPHAS = (0.001, 0.01, 0.1, 0.5, 1.0, 3.0, 10.0, 100.0, 1000.0)
ISAAC_STEPS = 100_000_000
PPO_AND_RPO = ("ppo", "rpo")
DISTRIBUTIONS = ("ppo", "rpo", "ppo-laplace", "rpo-laplace", "ppo-gumbel", "rpo-gumbel")
AUGMENTATIONS = ("ppo", "rad-ppo", "drac-ppo", "rpo")

_PUBLISHED = {
    task: entry.suite for task, entry in CATALOG.items() if CLEANRL in published_tables(entry)
}
DEEPMIND_CONTROL = tuple(t for t, suite in _PUBLISHED.items() if suite == "DeepMind Control")
MUJOCO = tuple(t for t, suite in _PUBLISHED.items() if suite == "MuJoCo v4")
# Published with alpha 0.01 beside 0.5.
TUNED = tuple(
    f"{name}-v4"
    for name in (
        "Ant",
        "HalfCheetah",
        "Hopper",
        "InvertedDoublePendulum",
        "Reacher",
        "Swimmer",
        "Pusher",
    )
)
GYM = ("Pendulum-v1", "BipedalWalker-v3")
PYBULLET = ("AntBulletEnv-v0", "MinitaurBulletEnv-v0")
TABLE_3_TASKS = tuple(task for task, entry in CATALOG.items() if TABLE_3 in published_tables(entry))
# Section 5.2 and the caption of figure 1 name these.
NAMED = tuple(
    f"dm_control/{name}-v0"
    for name in (
        "acrobot-swingup",
        "fish-swim",
        "hopper-stand",
        "hopper-hop",
        "humanoid-stand",
        "humanoid-walk",
        "humanoid-run",
        "quadruped-walk",
        "quadruped-run",
        "quadruped-escape",
        "walker-stand",
        "walker-walk",
        "walker-run",
    )
)
_OWN_TASKS = "the paper's text does not list the figure's tasks; those of table 3 are taken"
_ANNEALED_TASKS = (
    "figure 4 shows Reacher-v4 and InvertedDoublePendulum-v4; the others of MuJoCo v4 stand for "
    "figures 23 and 24, whose tasks the text does not list"
)
_MANY_ALPHAS = "the text names 0.001, 0.1 to 3, 0.5 and 1000; the values between are ours"

STUDIES: tuple[Study, ...] = (
    Study(
        "figure-1",
        "PPO and RPO on the DeepMind Control tasks that the text discusses",
        (Part(NAMED, PPO_AND_RPO),),
        "figure 1, section 5.2",
        note="the 13 tasks that section 5.2 and the caption name",
    ),
    Study(
        "figure-2",
        "RPO and PPO with entropy coefficients from 0 to 10",
        (
            Part(
                TABLE_3_TASKS,
                ("rpo", *(f"ppo:entropy_coef={value:g}" for value in ENTROPY_COEFFICIENTS)),
            ),
        ),
        "figures 2, 12 and 13, section 5.3, appendix G",
        note=_OWN_TASKS,
        aliases=("figure-12", "figure-13"),
    ),
    Study(
        "figure-3",
        "RPO with alpha from 0.001 to 1000",
        (Part(TABLE_3_TASKS, ("ppo", *(f"rpo:alpha={value:g}" for value in ALPHAS))),),
        "figures 3 and 15, section 6.1, appendix H",
        note=f"{_OWN_TASKS}; {_MANY_ALPHAS}",
        aliases=("figure-15",),
    ),
    Study(
        "figure-4",
        "annealing alpha from 0.5 to 0, where the constant fails",
        (Part(MUJOCO, ("ppo", "rpo", "rpo-annealed")),),
        "figures 4, 23 and 24, section 6.2, appendix K",
        note=_ANNEALED_TASKS,
        aliases=("figure-23", "figure-24"),
    ),
    Study(
        "figure-6",
        "PPO and RPO on all 48 DeepMind Control tasks",
        (Part(DEEPMIND_CONTROL, PPO_AND_RPO),),
        "figure 6, appendix F",
    ),
    Study(
        "figure-7",
        "PPO and RPO on Gym's Pendulum and BipedalWalker",
        (Part(GYM, PPO_AND_RPO),),
        "figure 7, appendix F",
    ),
    Study(
        "figure-8",
        "PPO and RPO on IsaacGym's Cartpole and BallBalance, rebuilt",
        (
            Part(("isaac/Cartpole-v0",), PPO_AND_RPO, steps=ISAAC_STEPS),
            Part(("isaac/BallBalance-v0",), PPO_AND_RPO, (0, 1, 2), ISAAC_STEPS),
        ),
        "figure 8, appendix F",
        note="3 seeds of BallBalance, as in the paper; other simulators than IsaacGym's PhysX",
    ),
    Study(
        "figure-9",
        "PPO and RPO on PyBullet's Ant and Minitaur",
        (Part(PYBULLET, PPO_AND_RPO),),
        "figure 9, appendix F",
    ),
    Study(
        "figure-10",
        "PPO and RPO with alpha 0.5 on MuJoCo v4",
        (Part(MUJOCO, PPO_AND_RPO),),
        "figure 10, appendix F",
    ),
    Study(
        "figure-11",
        "PPO and RPO with alpha 0.01 on MuJoCo v4",
        (Part(MUJOCO, ("ppo", "rpo:alpha=0.01")),),
        "figure 11, appendix F",
    ),
    Study(
        "figure-16",
        "Gaussian, Laplace and Gumbel policies, plain and perturbed",
        (Part((*GYM, *TABLE_3_TASKS), DISTRIBUTIONS),),
        "figure 16, section 6.3, appendix I",
        note=_OWN_TASKS,
    ),
    Study(
        "figure-17",
        "Gaussian, Laplace and Gumbel policies on Gym",
        (Part((*GYM, *MUJOCO), DISTRIBUTIONS),),
        "figure 17, appendix I",
        note="all Gym tasks that the paper trains on",
    ),
    Study(
        "figure-18",
        "Gaussian, Laplace and Gumbel policies on PyBullet",
        (Part(PYBULLET, DISTRIBUTIONS),),
        "figure 18, appendix I",
    ),
    Study(
        "figure-19",
        "Gaussian, Laplace and Gumbel policies on DeepMind Control",
        (Part(TABLE_3_TASKS, DISTRIBUTIONS),),
        "figure 19, appendix I",
        note=_OWN_TASKS,
    ),
    Study(
        "figure-20",
        "entropy of PPO and RPO on DeepMind Control",
        (Part(DEEPMIND_CONTROL, PPO_AND_RPO),),
        "figure 20, appendix J",
        shows="entropy",
        note="the runs of figure 6",
    ),
    Study(
        "figure-21",
        "entropy of Gaussian, Laplace and Gumbel policies on Gym and PyBullet",
        (Part((*GYM, *MUJOCO, *PYBULLET), DISTRIBUTIONS),),
        "figure 21, appendix J",
        shows="entropy",
        note="the runs of figures 17 and 18",
    ),
    Study(
        "figure-22",
        "entropy of Gaussian, Laplace and Gumbel policies on DeepMind Control",
        (Part(TABLE_3_TASKS, DISTRIBUTIONS),),
        "figure 22, appendix J",
        shows="entropy",
        note=f"the runs of figure 19; {_OWN_TASKS}",
    ),
    Study(
        "table-1",
        "uniform, Laplace and Gumbel noise in the update",
        (Part(TABLE_3_TASKS, ("ppo", "rpo", "rpo:noise=laplace", "rpo:noise=gumbel")),),
        "table 1, appendix D",
        note="the paper states properties; its empirical comparison is not shown. " + _OWN_TASKS,
    ),
    Study(
        "table-3",
        "RPO and PPO with data augmentation",
        (Part(TABLE_3_TASKS, AUGMENTATIONS),),
        "table 3, figure 14, appendix L",
        aliases=("figure-14",),
    ),
    Study(
        "published-61",
        "PPO and RPO on the 61 tasks of the published comparison",
        (
            Part((*DEEPMIND_CONTROL, *MUJOCO, *GYM), PPO_AND_RPO),
            Part(TUNED, ("rpo:alpha=0.01",)),
        ),
        "CleanRL's documentation of RPO",
    ),
)
NAMES: dict[str, Study] = {
    name: study for study in STUDIES for name in (study.name, *study.aliases)
}


def find_study(name: str) -> Study:
    """Return a study of the paper by its name or one of its aliases.

    Raises:
        ConfigError: if there is none; the nearest are suggested.
    """
    if name in NAMES:
        return NAMES[name]
    near = difflib.get_close_matches(name, NAMES, 3, cutoff=0.5)
    guess = f"; did you mean {' or '.join(near)}?" if near else ";"
    raise ConfigError(
        f"unknown study {name!r}{guess} `robustpo study list` lists all, and a file of your own "
        "ends in .toml"
    )
