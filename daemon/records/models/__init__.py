"""The models of records: what `models.toml` may say, and which values their fields take."""
