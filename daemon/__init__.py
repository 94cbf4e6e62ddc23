"""The process: what decides and what drives."""
