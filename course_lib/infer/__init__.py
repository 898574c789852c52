"""Running language models: generation, its cache and constraints, weights in fewer bits, a server."""
