"""Synthetic worlds, one per module, small enough that the best accuracy of every shortcut can be computed exactly."""
