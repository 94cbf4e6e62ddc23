"""The stores of objects: Google Cloud Storage, or files."""
