"""Every message of a person and its files, kept once."""
