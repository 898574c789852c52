"""The files of the worker, which run beside submitted code. They import the standard library, torch and numpy only."""
