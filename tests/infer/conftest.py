"""Shapes written in the signatures of this room are checked by tests/conftest.py."""
