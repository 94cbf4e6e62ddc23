"""Whapi: a WhatsApp account driven as a linked device. One token is one channel, which is one number."""
