"""Pulls: what has changed, on its way to its readers."""
