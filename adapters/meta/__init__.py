"""Meta's Cloud API: WhatsApp at its source."""
