"""The outside: one folder per system. Translates, never decides."""
