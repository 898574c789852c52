"""Fast twins of plain formulas: each tested equal to the plain form, and measured against it in `benchmarks/`."""
