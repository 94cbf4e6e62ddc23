"""The HTTP side of the process: webhooks in, health and metrics out."""
