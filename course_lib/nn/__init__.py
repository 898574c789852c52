"""The parts of a transformer, imported from their modules; none of them depends on the model that uses it."""
