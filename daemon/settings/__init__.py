"""The settings: one frozen record, read once, every problem reported together."""
