"""What a message says: voice to text, and whether it is a note or an order."""
