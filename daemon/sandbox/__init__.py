"""Simulators of every outside system, as real HTTP servers: for `ferryman demo` and for tests."""
