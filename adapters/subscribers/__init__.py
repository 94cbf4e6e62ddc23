"""Servers of other people that are told of events: outgoing webhooks."""
