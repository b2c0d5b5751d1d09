"""RPO inside other people's training stacks: one class each, imported by its own module's name."""
