"""Vizi, the order system: its order webhook."""
