"""Notebooks as students hand them in: right, wrong, and hostile. Built from the exercises' own references."""
