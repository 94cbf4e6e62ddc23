"""What other systems send us, as tolerant models: unknown keys and new enum values are kept, and a single value of an
unexpected type does not make the whole unreadable."""
