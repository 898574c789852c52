"""What runs beside submitted code: the files of the worker. They import the standard library, torch and numpy only."""
