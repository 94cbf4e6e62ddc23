"""Pushes: operations on their way into the records."""
