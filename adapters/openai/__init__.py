"""OpenAI, or a server that answers as it does: speech to text, and what a text asks for."""
