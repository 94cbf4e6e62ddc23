"""Chatwoot: the CRM in which agents talk to people."""
