"""The worker that understands what people write and asks for what an order lacks."""
