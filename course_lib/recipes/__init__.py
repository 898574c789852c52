"""Whole training runs, from data to a folder with a model and its results: what `course train` does.

A recipe is a function that takes a `Run` (its folder, preset, seed and number of steps) and returns the run's
`Results`. `course_lib.recipes.command` has the list of them.
"""
