"""What runs beside submitted code: the worker's folder. It imports the standard library, torch and numpy only."""
