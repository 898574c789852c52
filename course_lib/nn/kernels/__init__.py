"""Fast versions of plain formulas, each tested to equal the plain form and measured against it in `benchmarks/`."""
