"""Changing trained models: by examples, by preferences, by rewards, and with few parameters."""
