"""Outgoing webhooks: other systems are told of events, each subscriber in the order of each key, until it has taken
them."""
