"""Synthetic worlds, small enough that the best cheating answer can be computed exactly: one module each."""
