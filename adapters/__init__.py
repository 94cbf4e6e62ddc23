"""The outside: one module per system. Translates, never decides."""
