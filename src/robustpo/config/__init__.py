"""What a run is told: settings, shape, methods, presets, and what may not contradict."""
