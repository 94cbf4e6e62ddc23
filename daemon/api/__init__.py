"""The HTTP API: thin faces over `daemon.operator`, behind a bearer token."""
