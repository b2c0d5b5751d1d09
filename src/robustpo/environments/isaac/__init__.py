"""IsaacGym's tasks rebuilt on other simulators, labelled `Isaac-like`."""
