"""Chatwoot: the CRM that conversations are kept in."""
