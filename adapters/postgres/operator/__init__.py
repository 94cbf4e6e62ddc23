"""Queries behind the operator's verbs."""
