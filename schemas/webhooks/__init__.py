"""What other systems send us, as tolerant models: unknown keys and new enum values are kept, odd kinds are
expected."""
