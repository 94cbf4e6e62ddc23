"""360dialog, which stands before Meta's Cloud API and hands on what that tells."""
