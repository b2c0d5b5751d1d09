"""How good a policy is: frozen statistics, fresh seeds, no learning."""
