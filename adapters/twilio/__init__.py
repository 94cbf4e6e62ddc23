"""Twilio: WhatsApp through its Programmable Messaging."""
