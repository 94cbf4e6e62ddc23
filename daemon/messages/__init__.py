"""The messages domain: what is sent to people, once, and what becomes of it."""
