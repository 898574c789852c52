"""Data and models that come as packages: listed, fetched once, verified by hash, offline afterwards."""
