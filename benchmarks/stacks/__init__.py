"""PPO and RPO in every stack on one task: does each teach what the others teach, and how fast?"""
