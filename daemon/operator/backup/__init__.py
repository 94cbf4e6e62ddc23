"""Backup and restore of an installation on embedded stores."""
