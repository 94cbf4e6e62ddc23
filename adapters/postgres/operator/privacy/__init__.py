"""What the database holds about a person: found, counted, read, erased."""
