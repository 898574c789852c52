"""Data and models from packages: listed, fetched once, verified by hash, and then used offline."""
