"""The parts of a transformer, imported from their modules; each knows nothing of the model that it ends up in."""
