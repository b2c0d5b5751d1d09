"""The paper's theory, checked with numbers; nothing of training or evaluation depends on it."""
