"""The parts of a transformer. Each knows nothing of the model that it ends up in."""
