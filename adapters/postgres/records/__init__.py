"""The queries of record sync."""
