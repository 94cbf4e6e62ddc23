"""What an operator does with subscribers of outgoing webhooks."""
