"""Constrained decoding: text that matches a regular expression or a JSON Schema."""
